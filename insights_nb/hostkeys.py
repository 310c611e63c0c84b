"""Whether a file server is the one we expect: fingerprints that are pinned, and the user's ``known_hosts``.

Pure text work. Nothing is ever added by itself: a server that is not known stays unknown until a person says so.
"""

import base64
import binascii
import fnmatch
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from insights_nb.errors import HostKeyError


@dataclass(frozen=True, slots=True)
class Trust:
    """Which host keys are accepted.

    Parameters
    ----------
    source : str
        Where the knowledge comes from, for messages.
    accepted : dict of str to str
        Fingerprints, ``SHA256:…``, each with its key type (``""`` where only the fingerprint is known).
    revoked : frozenset of str
        Fingerprints that are never accepted.
    """

    source: str
    accepted: dict[str, str] = field(default_factory=dict)
    revoked: frozenset[str] = frozenset()

    def accepts(self, seen: str) -> bool:
        """Whether a server that shows this fingerprint is the one expected."""
        return seen in self.accepted and seen not in self.revoked


def fingerprint(key: bytes) -> str:
    """Return a public key's fingerprint as OpenSSH shows it: ``SHA256:`` and 43 characters."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def pinned(fingerprints: Iterable[str]) -> Trust:
    """Trust these fingerprints and no others."""
    return Trust("the pinned host key", {text.strip().rstrip("="): "" for text in fingerprints})


def known_hosts(text: str, host: str, port: int) -> Trust:
    """Read what an OpenSSH ``known_hosts`` file says about one server.

    Parameters
    ----------
    text : str
        The file's content. Lines that cannot be read say nothing.
    host : str
        Name or address as the user gave it.
    port : int
        On any port but 22 only entries of the form ``[host]:port`` count, as OpenSSH has it.
    """
    name = host.lower() if port == 22 else f"[{host.lower()}]:{port}"
    accepted: dict[str, str] = {}
    revoked: set[str] = set()
    for line in text.splitlines():
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or marker == "@cert-authority" or not _names(fields[0], name):
            continue
        try:
            seen = fingerprint(base64.b64decode(fields[2], validate=True))
        except (binascii.Error, ValueError):
            continue
        if marker == "@revoked":
            revoked.add(seen)
        elif not marker:
            accepted[seen] = fields[1]
    return Trust("~/.ssh/known_hosts", accepted, frozenset(revoked))


def _names(patterns: str, name: str) -> bool:
    """Whether a line's first field means this host: hashed, or a list of patterns some of which exclude."""
    if patterns.startswith("|1|"):
        try:
            salt, digest = (base64.b64decode(part, validate=True) for part in patterns[3:].split("|"))
        except (binascii.Error, ValueError):
            return False
        # SHA-1 is what the format prescribes; it hides names here and secures nothing.
        return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)
    matched = False
    for pattern in patterns.lower().split(","):
        # Only * and ? are special to OpenSSH; fnmatch would also read [.
        if fnmatch.fnmatchcase(name, pattern.removeprefix("!").replace("[", "[[]")):
            if pattern.startswith("!"):
                return False
            matched = True
    return matched


def stranger(address: str, trust: Trust, seen: Mapping[str, str]) -> HostKeyError:
    """Return the error for a server that is not the one we know."""
    shown = " and ".join(f"{key} ({kind})" for key, kind in seen.items())
    first = next(iter(seen))
    pin = f'insights.configure(sftp_host_key="{first}") or INSIGHTS_SFTP_HOST_KEY={first}'
    if trust.revoked & set(seen):
        why = f"which {trust.source} marks as revoked"
    elif any(trust.accepted.values()) and set(trust.accepted.values()).isdisjoint(seen.values()):
        why = f"while {trust.source} knows it only by a key of another type, {' or '.join(trust.accepted)}"
    elif trust.accepted:
        why = (
            f"not {' or '.join(trust.accepted)}, which is {trust.source}"
            if "pinned" in trust.source
            else (f"while {trust.source} knows it by {' or '.join(trust.accepted)}: the key has changed")
        )
    else:
        why = f"and neither a pinned key nor {trust.source} knows this server"
    return HostKeyError(
        f"the file server {address} shows the host key {shown}, {why}. Nothing was sent to it, no password either.",
        f"If whoever runs the server confirms this fingerprint, pin it: {pin}. If nobody does, somebody may be "
        "listening in.",
    )
