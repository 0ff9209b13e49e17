//! A server that nobody here wrote (aiosmtpd), with STARTTLS and AUTH, and a verifier of signatures that
//! nobody here wrote (dkimpy). Needs `python3` (or what `PABAL_TEST_PYTHON` names) with both, and the
//! `openssl` program; says what is missing and tests nothing otherwise.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mail_parser::{MessageParser, MimeHeaders as _};
use pabal_provider::{Answer, Attachment, NotConnected, Outcome};
use serde_json::Value;

use crate::mails::Keys;
use crate::world::{answer, mail, send, smtp};

struct Server {
    child: Child,
    said: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    /// `None` if something is missing, which is said.
    fn start(folder: &Path, keys: &Keys) -> Option<Self> {
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ])
            .args([
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .stderr(Stdio::null())
            .status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("skipped: no certificate can be made without the openssl program");
            return None;
        }
        let python = std::env::var("PABAL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp/interop.py");
        let child = Command::new(python)
            .arg(script)
            .arg(&certificate)
            .arg(&key)
            .arg(format!("r1._domainkey.shop.example={}", keys.rsa))
            .arg(format!("e1._domainkey.shop.example={}", keys.ed25519))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: there is no python3");
            return None;
        };
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let Ok(port) = line.trim().parse() else {
            eprintln!("skipped: {}", line.trim());
            return None;
        };
        Some(Self { child, said, port })
    }

    /// The next mail it took.
    fn taken(&mut self) -> Value {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_and_a_verifier_of_others_take_what_is_sent_over_tls_with_both_signatures() {
    let keys = Keys::new();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = Server::start(folder.path(), &keys) else {
        return;
    };
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let settings = |ca_file: &Path| {
        format!(
            "mode = 'smarthost'\nehlo = 'pabal.example'\nuser = 'pabal'\nca_file = '{}'\n\
             return_path = 'bounces.shop.example'\ndkim = [{}]",
            ca_file.display(),
            keys.tables()
        )
    };
    let provider = smtp(&url, &settings(&folder.path().join("cert.pem")));
    let file = Attachment {
        media_type: "text/plain".to_owned(),
        name: Some("영수증.txt".to_owned()),
        bytes: Bytes::from_static(b"a\rb\n\0"),
    };
    for number in 0..3 {
        let mut outgoing = mail("kim@mail.example");
        outgoing.content.text = format!(".\n..\n{number} 안녕하세요 \n\n{}\n", "x".repeat(1500));
        outgoing.content.html = Some("<p>안녕하세요</p>".to_owned());
        outgoing.attachments = vec![file.clone()];
        let text = outgoing.content.text.clone();
        let outcome = send(&provider, outgoing).await;
        assert!(
            matches!(answer(&outcome), Answer::Delivered { .. }),
            "{outcome:?}"
        );
        let taken = server.taken();
        assert_eq!(taken["verified"], serde_json::json!([true, true]));
        assert_eq!(
            (&taken["tls"], &taken["user"]),
            (&true.into(), &"pabal".into())
        );
        assert_eq!(taken["to"], serde_json::json!(["kim@mail.example"]));
        assert!(
            taken["from"]
                .as_str()
                .unwrap()
                .ends_with("@bounces.shop.example")
        );
        let bytes = STANDARD.decode(taken["mail"].as_str().unwrap()).unwrap();
        let parsed = MessageParser::default().parse(&bytes).unwrap();
        assert_eq!(parsed.subject(), Some("주문하신 상품이 발송되었습니다"));
        assert_eq!(parsed.body_text(0).unwrap().replace("\r\n", "\n"), text);
        let attachment = parsed.attachment(0).unwrap();
        assert_eq!(attachment.contents(), &file.bytes[..]);
        assert_eq!(attachment.attachment_name(), file.name.as_deref());
    }
    // A certificate that the roots do not vouch for is none.
    let provider = smtp(&url, &settings(&other_root(folder.path())));
    let outcome = send(&provider, mail("kim@mail.example")).await;
    assert_eq!(outcome, Outcome::NotConnected(NotConnected::Tls));
}

/// A root that has vouched for nobody.
fn other_root(folder: &Path) -> std::path::PathBuf {
    let root = folder.join("other.pem");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=other",
        ])
        .arg("-keyout")
        .arg(folder.join("other.key"))
        .arg("-out")
        .arg(&root)
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    root
}
