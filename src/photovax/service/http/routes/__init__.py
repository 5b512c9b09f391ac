"""The routes under /v1: one module and one APIRouter for each kind of resource."""
