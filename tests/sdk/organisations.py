"""The generated classes of the SDK for organisations, users and keys: every answer parses, and means what it says."""
from voidrun import VoidRun
from voidrun.api_client import ApiClient, Configuration
from voidrun.api_client.api.organizations_api import OrganizationsApi
from voidrun.api_client.api.users_api import UsersApi
from voidrun.api_client.exceptions import ApiException
from voidrun.api_client.models.activate_api_key_request import ActivateAPIKeyRequest
from voidrun.api_client.models.generate_api_key_request import GenerateAPIKeyRequest
import os

configuration = Configuration(host=os.environ["VR_API_URL"])
configuration.api_key["ApiKeyAuth"] = os.environ["VR_API_KEY"]
client = ApiClient(configuration)
client.set_default_header("X-API-Key", os.environ["VR_API_KEY"])
orgs, users = OrganizationsApi(client), UsersApi(client)

me = users.get_current_user()
assert me.id and me.name and me.created_at and me.orgs[0].id, me
assert me.id in [user.id for user in orgs.get_org_users().data]

made = orgs.generate_api_key(GenerateAPIKeyRequest(keyName="CI/CD Key"))
assert made.plain_key.startswith("bh_") and made.org_id == me.orgs[0].id and made.expires_in == "never", made
second = VoidRun(api_key=made.plain_key)
sandbox = second.create_sandbox(name="sdk-key")
assert sandbox.exec("echo hi").data.stdout == "hi\n"

rows = {row.id: row for row in orgs.list_api_keys()}
row = rows[made.key_id]
assert row.name == "CI/CD Key" and row.scopes == ["*"] and row.is_active and row.last_used_at, row
assert row.created_by == me.id and row.updated_at >= row.created_at, row

orgs.activate_api_key(made.key_id, ActivateAPIKeyRequest(isActive=False))
try:
    sandbox.exec("true")
except Exception:
    pass
else:
    raise AssertionError("a key that is switched off works")
orgs.activate_api_key(made.key_id, ActivateAPIKeyRequest(isActive=True))
sandbox.remove()
orgs.touch_api_key(made.key_id)
orgs.revoke_api_key(made.key_id)
assert made.key_id not in [row.id for row in orgs.list_api_keys()]
try:
    orgs.revoke_api_key(made.key_id)
except ApiException as e:
    assert e.status == 404, e
else:
    raise AssertionError("a key was deleted twice")
print("organisations: done")
