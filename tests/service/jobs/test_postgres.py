"""The table of jobs in PostgreSQL: servers that break off, wrong addresses, passwords."""

import pytest

from photovax.errors import UsageError
from photovax.service.jobs.job import Unreachable
from photovax.service.jobs.table import Jobs
from photovax.service.settings import Settings
from tests.postgres import PASSWORD, with_schema
from tests.service.jobs.rows import add_job


def test_a_server_that_breaks_off_is_found_again(postgres, tmp_path):
    import psycopg

    jobs = Jobs(postgres, tmp_path / "pictures")
    add_job(jobs)
    with psycopg.connect(postgres, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'photovax'"
        )
    assert jobs.counts()["queued"] == 1
    with psycopg.connect(postgres, autocommit=True) as other:
        other.execute("ALTER TABLE jobs RENAME TO others")
    with pytest.raises(Unreachable, match=r"out of reach \(UndefinedTable\)"):
        jobs.counts()
    jobs.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://ann:s3cret@db/jobs", "not one of PostgreSQL"),
        ("postgresql://ann:s3cret@w0rd@db/jobs", "cannot be read"),
        ("postgresql://ann:12/s3cret@db/jobs", "cannot be read"),
        ("postgresql://ann:s3cret%zz@db/jobs", "cannot be read"),
        ("postgresql://ann:s3cret@127.0.0.1:1/jobs", "cannot be reached: .*127.0.0.1"),
    ],
)
def test_what_is_wrong_with_a_url_is_said_without_the_password(tmp_path, url, message):
    pytest.importorskip("psycopg")
    with pytest.raises(UsageError, match=message) as caught:
        Jobs(url, tmp_path / "pictures")
    assert "s3cret" not in str(caught.value)
    assert "w0rd" not in str(caught.value)
    assert "s3cret" not in repr(Settings(tmp_path, database=url))


def test_a_wrong_password_is_said_without_it(postgres, tmp_path):
    right = "p%40ss%2Fw%25rd"
    if right not in postgres:
        pytest.skip("the database is not the tests' own")
    with pytest.raises(UsageError, match="password authentication failed") as caught:
        Jobs(postgres.replace(right, "s3cret"), tmp_path / "pictures")
    assert "s3cret" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be made: no schema has been selected") as caught:
        Jobs(with_schema(postgres, "nowhere"), tmp_path / "pictures")
    assert PASSWORD not in str(caught.value)
