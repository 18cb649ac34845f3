"""The usual do-it-yourself: nginx `auth_request` asks this service, which checks a token with PyJWT, asks pycasbin and
writes one row for each request to Postgres. Written as such services usually are; it is what Haetae is compared with."""

import os
import time

import asyncpg
import casbin
import jwt
from fastapi import FastAPI, Request, Response

app = FastAPI()
HERE = os.path.dirname(os.path.abspath(__file__))
KEYS = {key.key_id: key.key for key in jwt.PyJWKSet.from_json(open(os.environ["DIY_JWKS"]).read()).keys}
AUDIENCE = os.environ["DIY_AUDIENCE"]
enforcer = casbin.Enforcer(os.path.join(HERE, "model.conf"), os.path.join(HERE, "policy.csv"))
pool = None


@app.on_event("startup")
async def start():
    global pool
    pool = await asyncpg.create_pool(os.environ["DIY_DATABASE"], min_size=4, max_size=16)
    try:
        await pool.execute(
            "CREATE TABLE IF NOT EXISTS decision (at timestamptz NOT NULL DEFAULT now(), sub text, org text, allowed bool)"
        )
    except (asyncpg.UniqueViolationError, asyncpg.DuplicateTableError):
        pass  # another worker made it at the same moment


@app.get("/authz")
async def authz(request: Request):
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        key = KEYS[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(token, key, algorithms=["EdDSA"], audience=AUDIENCE)
    except (jwt.PyJWTError, KeyError):
        return Response(status_code=401)
    allowed = enforcer.enforce(claims["org"], "KR", "submit")
    await pool.execute(
        "INSERT INTO decision (sub, org, allowed) VALUES ($1, $2, $3)", claims["sub"], claims["org"], allowed
    )
    return Response(status_code=204 if allowed else 403, headers={"x-decided-at": str(time.time_ns())})
