"""The state machine in the directories: which process holds which pair, and how each pair ends.

::

    INPUT/NAME.jpg, NAME.prompt        waiting; writers need nothing else
    INPUT/.sampoll/nodes/<node>        one locked file for each running process
    INPUT/.sampoll/work/<node>/<job>/  a claimed pair, names unchanged
    INPUT/.sampoll/work/<node>/.journal.jsonl  the states of these pairs
    INPUT/.sampoll/deferred/<job>/     waiting for its next try, owned by no process, and .state.jsonl
    INPUT/done/, INPUT/failed/         where pairs end
    OUTPUT/NAME.png, NAME.json         results; the OPEX file comes last and commits them
    OUTPUT/.sampoll/stage/<node>/<job>/  results being written
    OUTPUT/.sampoll/names/             result names that are taken but not yet published

`scan` and `state` only decide, and are pure; `nodes`, `claims`, `reservations`, `results`, `finish`, `failed`
and `recovery` act, and each action is one rename or one write.
"""
