"""How good the masks of "everything" must be."""

from dataclasses import dataclass

from sampoll.core.jobs import Everything


@dataclass(frozen=True)
class MaskThresholds:
    """Masks are good enough above these; the defaults are SAM's."""

    pred_iou: float = 0.88
    stability_score: float = 0.95

    def asked_by(self, everything: Everything) -> "MaskThresholds":
        """The same, but for those that the prompt says itself."""
        pred_iou, stability_score = everything.pred_iou_thresh, everything.stability_score_thresh
        return MaskThresholds(
            self.pred_iou if pred_iou is None else pred_iou,
            self.stability_score if stability_score is None else stability_score,
        )


SAM_THRESHOLDS = MaskThresholds()
SAM2_THRESHOLDS = MaskThresholds(pred_iou=0.8)
