"""Where public files lie: in a folder of the user's, in the Hugging Face cache, or else on the hub itself."""

from __future__ import annotations

import os
import socket
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from mfuser.config import Source

VARIABLE = "MFUSER_WEIGHTS"  # names the folder of weights


class MissingError(ValueError):
    """Weights that are not here and could not be fetched; the message has the command that gets them."""


def home() -> Path:
    """The user's folder of weights: $MFUSER_WEIGHTS, or `~/.cache/mfuser`.

    It holds one folder per preset (`HOME/dinov2-l+clip-l/stream-fused.safetensors`, ...). It also holds files of the
    hub, either in a folder named like their repository or directly.

    Raises:
        ValueError: the variable names a file.
    """
    folder = Path(os.environ.get(VARIABLE) or "~/.cache/mfuser").expanduser()
    if folder.is_file():
        raise ValueError(f"{VARIABLE} names a file, {folder}: name the folder that holds a folder for each preset.")
    return folder


def find(source: Source, *places: Path | None) -> Path | None:
    """Look for the file of a source, without a download.

    Args:
        source: repository and file names.
        places: folders, or the file itself, to look in before `home()` and the hub's cache. None is skipped.

    Returns:
        Its path, or None.
    """
    for place in (*places, home()):
        if place is None:
            continue
        if place.is_file():
            return place
        for folder in (place / source.repo.rsplit("/", 1)[-1], place / source.repo, place):
            for name in source.files:
                if (folder / name).is_file():
                    return folder / name
    from huggingface_hub import try_to_load_from_cache

    for name in source.files:
        if isinstance(found := try_to_load_from_cache(source.repo, name), str):
            return Path(found)
    return None


def fetch(source: Source, *places: Path | None) -> Path:
    """The file of a source: found by `find`, or else downloaded.

    Args:
        source: repository and file names.
        places: as for `find`.

    Raises:
        MissingError: it is not here and cannot be downloaded. The message has the command that gets it.
    """
    if (found := find(source, *places)) is not None:
        return found
    from huggingface_hub import constants, hf_hub_download

    reason = "the hub is switched off (HF_HUB_OFFLINE)"
    if not constants.HF_HUB_OFFLINE:
        try:
            if not behind_proxy(constants.ENDPOINT):  # a proxy resolves the name itself
                url = urlsplit(constants.ENDPOINT)
                socket.getaddrinfo(url.hostname, url.port or 443)  # without a network the client retries for long
            return Path(hf_hub_download(source.repo, source.files[0]))
        except (OSError, ValueError) as error:  # every error of the client is one of these
            reason = f"{constants.ENDPOINT} cannot be reached or has no such file, {type(error).__name__}"
    raise MissingError(
        f"The file {source.files[0]} of {source.repo} is not here and could not be downloaded ({reason}): "
        f"run `{source.command}`, or put it into {home() / source.repo.rsplit('/', 1)[-1]}."
    )


def behind_proxy(url: str) -> bool:
    """Whether requests to a URL go through a proxy.

    The proxy is that of the environment (`https_proxy`, `all_proxy`, ...) or of the system, `no_proxy` respected.

    Args:
        url: with a scheme and a host.
    """
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    host = parts.netloc.rpartition("@")[2]
    return bool({parts.scheme, "all"} & proxies.keys()) and not urllib.request.proxy_bypass(host)
