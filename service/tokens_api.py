"""POST /tokens: an upload token for a page that must not hold its operator's key."""

from flask import Blueprint, Response, current_app, g

from service import deliveries, responses, schemas, tokens, uploads
from service.jobs.intake import Jobs
from service.keys import Doorkeeper
from service.operations import JSON

blueprint = Blueprint("tokens", __name__)


@blueprint.post("/tokens")
def create() -> Response:
    jobs: Jobs = current_app.extensions["jobs"]
    doorkeeper: Doorkeeper = current_app.extensions["doorkeeper"]
    with current_app.extensions["places"].taken():
        fields = uploads.receive_fields(schemas.TokenFields)
        text, token = tokens.create(
            jobs.engine,
            g.owner,
            doorkeeper.stamp(g.owner),
            ttl_s=fields.ttl_seconds,
            uploads=fields.uploads,
            session_id=fields.session_id,
        )
    deliveries.note_token(token.id)
    body = responses.token_body(text, token)
    return Response(responses.dump(body), status=201, mimetype=JSON)
