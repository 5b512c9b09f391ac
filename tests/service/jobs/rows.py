"""Jobs to put into a table."""

from photovax.service.jobs.job import Job, new_id
from photovax.service.jobs.table import Jobs


def add_job(jobs: Jobs, **options: object) -> Job:
    """Queue an immunization with a secret prompt and a secret picture."""
    job = new_id()
    jobs.folder(job).mkdir()
    (jobs.folder(job) / "photo.npz").write_bytes(b"secret")
    options = {"request": "r", **options}
    return jobs.add(job, "immunizations", {"prompt": "hush"}, **options)  # type: ignore[arg-type]
