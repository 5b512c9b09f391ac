"""The adversary: purifications and ordinary edits of photos. Imports nothing of the attack."""
