"""A client of the service in Python.

with Client("http://127.0.0.1:8765") as client:
    job = client.wait(client.immunize("photo.jpg"))
    client.save_photo(job, "photo.immunized.png")
    client.save_certificate(job, "photo.certificate.json")
"""

from photovax.client.answers import Model, RemoteJob, ServiceError
from photovax.client.connection import Client

__all__ = ["Client", "Model", "RemoteJob", "ServiceError"]
