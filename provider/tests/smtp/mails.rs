//! What arrives: return paths, and signatures that somebody else verifies.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_auth::hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};
use tempfile::TempDir;

use crate::nameserver::{self, Record, Zone};
use crate::server::Server;
use crate::world::{SMARTHOST, mail, send, smtp};

/// A key of each kind, in files of its own, and the TXT records that go with them.
pub(crate) struct Keys {
    folder: TempDir,
    pub(crate) rsa: String,
    pub(crate) ed25519: String,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rsa = rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
        let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&rsa).unwrap();
        write(&folder, "rsa.pem", private.as_ref());
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(rsa.public_key()).unwrap();
        let ed25519 = Ed25519KeyPair::generate().unwrap();
        write(
            &folder,
            "ed25519.pem",
            ed25519.to_pkcs8v1().unwrap().as_ref(),
        );
        Self {
            folder,
            rsa: format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(public.as_ref())),
            ed25519: format!(
                "v=DKIM1; k=ed25519; p={}",
                STANDARD.encode(ed25519.public_key().as_ref())
            ),
        }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The entries of `dkim` for both.
    pub(crate) fn tables(&self) -> String {
        let tables = [("r1", "rsa.pem"), ("e1", "ed25519.pem")].map(|(selector, file)| {
            let file = self.file(file);
            format!("{{ domain = 'shop.example', selector = '{selector}', key_file = '{file}' }}")
        });
        tables.join(", ")
    }

    fn zone(&self) -> Zone {
        Zone::from([
            (
                "r1._domainkey.shop.example",
                vec![Record::Txt(self.rsa.clone())],
            ),
            (
                "e1._domainkey.shop.example",
                vec![Record::Txt(self.ed25519.clone())],
            ),
        ])
    }
}

fn write(folder: &TempDir, name: &str, der: &[u8]) {
    let base64 = STANDARD.encode(der);
    let lines: Vec<_> = base64
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        lines.join("\n")
    );
    std::fs::write(folder.path().join(name), pem).unwrap();
}

async fn verified(mail: &str, zone: Zone) -> Vec<DkimResult> {
    let nameserver = nameserver::serve(zone).await;
    let mut server = NameServerConfig::udp(nameserver.ip());
    server.connections[0].port = nameserver.port();
    let config = ResolverConfig::from_name_servers(vec![server]);
    let authenticator = MessageAuthenticator::new(config, ResolverOpts::default()).unwrap();
    let message = AuthenticatedMessage::parse(mail.as_bytes()).unwrap();
    let outputs = authenticator.verify_dkim(&message).await;
    outputs
        .iter()
        .map(|output| output.result().clone())
        .collect()
}

async fn signed(keys: &Keys) -> String {
    let server = Server::new(Vec::new()).await;
    let settings = format!("{SMARTHOST}dkim = [{}]", keys.tables());
    let mut outgoing = mail("kim@mail.example");
    outgoing.content.html = Some("<p>안녕하세요</p>".to_owned());
    outgoing.content.text = ".\n..\n안녕하세요 \n\n\n".to_owned();
    send(&smtp(&server.url(), &settings), outgoing).await;
    server.mail()
}

#[tokio::test]
async fn a_signed_mail_is_verified_by_rsa_and_by_ed25519() {
    let keys = Keys::new();
    let mail = signed(&keys).await;
    assert_eq!(
        verified(&mail, keys.zone()).await,
        [DkimResult::Pass, DkimResult::Pass],
        "{mail}"
    );
}

#[tokio::test]
async fn a_changed_mail_is_not() {
    let keys = Keys::new();
    let mail = signed(&keys).await;
    for changed in [
        mail.replacen("Subject: ", "Subject: x", 1),
        mail.replacen("To: ", "To: x", 1),
        mail.replacen("From: ", "From: <evil@shop.example>\r\nFrom: ", 1),
        format!("{mail}more\r\n"),
    ] {
        let results = verified(&changed, keys.zone()).await;
        assert!(
            results.iter().all(|one| *one != DkimResult::Pass),
            "{results:?}"
        );
    }
}

#[tokio::test]
async fn mail_of_another_domain_is_not_signed_with_the_key_of_this_one() {
    let server = Server::new(Vec::new()).await;
    let keys = Keys::new();
    let file = keys.file("rsa.pem");
    let settings = format!(
        "{SMARTHOST}dkim = [{{ domain = 'shop.example', selector = 'r1', key_file = '{file}' }}]"
    );
    let mut outgoing = mail("kim@mail.example");
    outgoing.content.from = Some("shop@notshop.example".to_owned());
    send(&smtp(&server.url(), &settings), outgoing).await;
    assert!(!server.mail().contains("DKIM-Signature"));
}

#[tokio::test]
async fn a_mail_comes_back_to_an_address_of_its_own() {
    let server = Server::new(Vec::new()).await;
    let provider = smtp(
        &server.url(),
        &format!("{SMARTHOST}return_path = 'bounces.shop.example'"),
    );
    let outgoing = mail("kim@mail.example");
    let id = outgoing.id.to_string().to_ascii_lowercase();
    send(&provider, outgoing).await;
    let lines = server.seen().lines;
    assert!(
        lines[1].starts_with(&format!("MAIL FROM:<b-{id}-")),
        "{lines:?}"
    );
    assert!(lines[1].contains("@bounces.shop.example>"), "{lines:?}");
}
