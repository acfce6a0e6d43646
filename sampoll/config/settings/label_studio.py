"""The settings of the section [label_studio]."""

from pydantic import SecretStr

from sampoll.config.settings.section import Section, setting
from sampoll.config.settings.values import FolderAddress, NamedPath


class LabelStudioSettings(Section):
    """Where the images of Label Studio are, for `sampoll serve http`."""

    url: FolderAddress | None = setting(
        None,
        "label-studio-url",
        "Address of the Label Studio whose images may be fetched; LABEL_STUDIO_URL counts too.",
        metavar="URL",
        shared_variable="LABEL_STUDIO_URL",
    )
    api_key: SecretStr | None = setting(
        None,
        "label-studio-api-key",
        "Access token of a user of Label Studio; not a flag, because flags can be read by everyone.",
        is_flag=False,
        shared_variable="LABEL_STUDIO_API_KEY",
    )
    api_key_file: NamedPath | None = setting(
        None, "label-studio-api-key-file", "File that holds the access token.", metavar="FILE"
    )
