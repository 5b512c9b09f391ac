"""Digests are in records and certificates: what they are taken over must not change."""

import hashlib

from photovax.digests import combined_digest, file_digest


def test_digests_over_digests_are_over_digits_or_bytes(tmp_path):
    digests = [hashlib.sha256(part).hexdigest() for part in (b"one", b"two")]
    assert combined_digest(digests) == hashlib.sha256("".join(digests).encode()).hexdigest()
    raw = b"".join(bytes.fromhex(digest) for digest in digests)
    assert combined_digest(iter(digests), decoded=True) == hashlib.sha256(raw).hexdigest()
    assert combined_digest(digests) != combined_digest(reversed(digests))
    (tmp_path / "file").write_bytes(b"one")
    assert file_digest(tmp_path / "file") == digests[0]
