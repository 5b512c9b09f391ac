"""Jobs to put into a table."""

from photovax.service.jobs.job import Job, new_id
from photovax.service.jobs.pictures import Folder
from photovax.service.jobs.table import Jobs


def store_of(jobs: Jobs) -> Folder:
    """The folder of a table's pictures."""
    assert isinstance(jobs.pictures, Folder)
    return jobs.pictures


def add_job(jobs: Jobs, **options: object) -> Job:
    """Queue an immunization with a secret prompt and a secret picture."""
    job = new_id()
    store_of(jobs).folder(job).mkdir()
    (store_of(jobs).folder(job) / "photo.npz").write_bytes(b"secret")
    options = {"request": "r", **options}
    return jobs.add(job, "immunizations", {"prompt": "hush"}, **options)  # type: ignore[arg-type]
