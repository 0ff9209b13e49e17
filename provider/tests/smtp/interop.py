"""A submission server by aiosmtpd that verifies signatures by dkimpy.

Usage: interop.py CERTIFICATE KEY NAME=TXT...

Wants STARTTLS and AUTH. Prints its port, then one JSON line for each mail it took. Ends with its
standard input.
"""

import base64
import json
import ssl
import sys

try:
    import dkim
    import nacl  # noqa: F401 - dkimpy needs it for Ed25519
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult
except ImportError as missing:
    print(f"SKIP {missing}: pip install aiosmtpd dkimpy pynacl", flush=True)
    sys.exit(0)

CERTIFICATE, KEY, *RECORDS = sys.argv[1:]
TXT = dict(record.split("=", 1) for record in RECORDS)


def txt(name, timeout=5):
    name = name.decode() if isinstance(name, bytes) else name
    record = TXT.get(name.rstrip("."))
    return record.encode() if record else None


class Handler:
    async def handle_DATA(self, server, session, envelope):
        mail = envelope.content
        signatures = mail.split(b"\r\n\r\n", 1)[0].count(b"DKIM-Signature:")
        verified = [dkim.DKIM(mail).verify(idx=at, dnsfunc=txt) for at in range(signatures)]
        print(
            json.dumps(
                {
                    "from": envelope.mail_from,
                    "to": envelope.rcpt_tos,
                    "tls": session.ssl is not None,
                    "user": session.auth_data.decode(),
                    "verified": verified,
                    "mail": base64.b64encode(mail).decode(),
                }
            ),
            flush=True,
        )
        return "250 2.0.0 taken"


def authenticate(server, session, envelope, mechanism, data):
    is_known = (data.login, data.password) == (b"pabal", b"password")
    return AuthResult(success=is_known, auth_data=data.login)


class OnAFreePort(Controller):
    """The port is known once the server listens, which is before it is asked for the first time."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, KEY)
controller = OnAFreePort(
    Handler(),
    hostname="127.0.0.1",
    port=0,
    tls_context=context,
    require_starttls=True,
    auth_required=True,
    authenticator=authenticate,
    enable_SMTPUTF8=False,
)
controller.start()
print(controller.port, flush=True)
sys.stdin.read()
controller.stop()
