//! What an account of mail needs beyond its address and password: `[account.settings]`, checked.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use pabal_common::domain::mail::MailDomain;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::destination::Windows;
use super::dkim::{DkimKey, Signers};
use super::return_path::ReturnPaths;
use super::server::Place;
use super::tls::{Security, Tls};
use crate::adapter::{Account, BuildError};

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    mode: Mode,
    ehlo: MailDomainText,
    user: Option<String>,
    #[serde(default)]
    tls: Security,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    dkim: Vec<DkimTable>,
    return_path: Option<MailDomainText>,
    nameserver: Option<SocketAddr>,
    #[serde(default = "most_at_once")]
    most_at_once: u32,
    #[serde(default = "per_connection")]
    per_connection: u32,
    #[serde(default)]
    private_targets: bool,
}

/// Which way mail takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Smarthost,
    Direct,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DkimTable {
    domain: MailDomainText,
    selector: String,
    key_file: PathBuf,
}

/// A domain in the table; a wrong one is refused by its name.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct MailDomainText(MailDomain);

impl TryFrom<String> for MailDomainText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let domain = text.parse().map_err(|error| format!("{text:?}: {error}"))?;
        Ok(Self(domain))
    }
}

const fn most_at_once() -> u32 {
    20
}

const fn per_connection() -> u32 {
    100
}

/// Where mail goes.
pub(super) enum Way {
    /// To the one server that sees to the rest.
    Smarthost { server: Place, login: Option<Login> },
    /// To the servers of the recipient's domain.
    Direct(Direct),
}

/// Name and password at a submission server.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: SecretString,
}

/// How the recipients' servers are found and treated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Direct {
    /// The port they listen on.
    pub(super) port: u16,
    /// The name server to ask; without it, the system's.
    pub(super) nameserver: Option<SocketAddr>,
    /// How many mails may be on their way to one domain.
    pub(super) windows: Windows,
    /// Whether a server may have an address that is not of the public internet.
    pub(super) private_targets: bool,
}

/// How a dialogue is held, whoever the server is.
#[derive(Clone)]
pub(super) struct Manner {
    /// What we call ourselves.
    pub(super) ehlo: MailDomain,
    pub(super) tls: Tls,
    /// The most mails over one connection.
    pub(super) per_connection: u32,
    pub(super) connect_timeout: Duration,
    pub(super) answer_timeout: Duration,
}

/// All of them.
pub(super) struct Settings {
    pub(super) way: Way,
    pub(super) manner: Manner,
    pub(super) signers: Signers,
    pub(super) return_paths: Option<ReturnPaths>,
}

impl Settings {
    /// The account's settings; keys are read from their files.
    pub(super) fn of(account: &Account) -> Result<Self, BuildError> {
        let table: Table = account.settings()?;
        range("most_at_once", table.most_at_once, 1..=1000)?;
        range("per_connection", table.per_connection, 1..=10_000)?;
        let server = Place::parse(&account.base_url)?;
        let tls = Tls::new(table.tls, table.ca_file.as_deref()).map_err(BuildError::Settings)?;
        let return_paths = return_paths(account, table.return_path)?;
        let keys = table.dkim.iter().map(DkimTable::read);
        let signers = Signers::new(keys.collect::<Result<_, _>>()?);
        let manner = Manner {
            ehlo: table.ehlo.0,
            tls,
            per_connection: table.per_connection,
            connect_timeout: account.connect_timeout,
            answer_timeout: account.answer_timeout,
        };
        let way = match table.mode {
            Mode::Smarthost => {
                if table.nameserver.is_some() || table.private_targets {
                    return Err(wrong(
                        "nameserver and private_targets are for mode = \"direct\"",
                    ));
                }
                let login = login(table.user, account)?;
                if login.is_some() && table.tls != Security::Required && !server.is_local() {
                    return Err(wrong(
                        "a password is sent over TLS only: tls = \"required\"",
                    ));
                }
                Way::Smarthost { server, login }
            }
            Mode::Direct => {
                if table.user.is_some() {
                    return Err(wrong("user is for mode = \"smarthost\""));
                }
                Way::Direct(Direct {
                    port: server.mx_port().ok_or_else(|| BuildError::BaseUrl {
                        given: account.base_url.clone(),
                        why: "with mode = \"direct\" it is smtp://mx:25".to_owned(),
                    })?,
                    nameserver: table.nameserver,
                    windows: Windows::up_to(table.most_at_once),
                    private_targets: table.private_targets,
                })
            }
        };
        Ok(Self {
            way,
            manner,
            signers,
            return_paths,
        })
    }
}

fn wrong(why: &str) -> BuildError {
    BuildError::Settings(why.to_owned())
}

fn login(user: Option<String>, account: &Account) -> Result<Option<Login>, BuildError> {
    let Some(user) = user else {
        return Ok(None);
    };
    let is_text = |text: &str| !text.is_empty() && !text.contains('\0');
    if !is_text(&user) || !is_text(account.api_key.expose_secret()) {
        return Err(wrong(
            "user and its password (api_key) are not empty and hold no NUL",
        ));
    }
    Ok(Some(Login {
        user,
        password: account.api_key.clone(),
    }))
}

fn return_paths(
    account: &Account,
    domain: Option<MailDomainText>,
) -> Result<Option<ReturnPaths>, BuildError> {
    let Some(MailDomainText(domain)) = domain else {
        return Ok(None);
    };
    let secret = account.callback_secret()?.expose_secret();
    // As short as a callback's may be.
    secret.parse::<pabal_common::crypto::CallbackKey>()?;
    Ok(Some(ReturnPaths::new(domain, secret.as_bytes())))
}

impl DkimTable {
    fn read(&self) -> Result<DkimKey, BuildError> {
        let path = self.key_file.display();
        let pem = std::fs::read(&self.key_file)
            .map_err(|error| BuildError::Settings(format!("dkim key_file {path}: {error}")))?;
        DkimKey::new(self.domain.0.clone(), &self.selector, &pem)
            .map_err(|why| BuildError::Settings(format!("dkim key_file {path}: {why}")))
    }
}

fn range<T: PartialOrd + fmt::Display>(
    name: &str,
    value: T,
    allowed: RangeInclusive<T>,
) -> Result<(), BuildError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(BuildError::Settings(format!(
        "{name} = {value} is not allowed: expected from {} to {}",
        allowed.start(),
        allowed.end()
    )))
}

#[cfg(test)]
mod tests {
    use pabal_common::domain::report::VendorAccount;

    use super::*;

    fn settings(base_url: &str, text: &str) -> Result<Settings, String> {
        let account = Account {
            account: VendorAccount::new("smtp", "main"),
            base_url: base_url.to_owned(),
            api_key: SecretString::from("password"),
            callback_secret: Some(SecretString::from("sixteen bytes at least")),
            connect_timeout: Duration::from_secs(1),
            answer_timeout: Duration::from_secs(1),
            settings: text.parse().unwrap(),
        };
        Settings::of(&account).map_err(|error| error.to_string())
    }

    const SMARTHOST: &str = "mode = 'smarthost'\nehlo = 'mail.shop.example'\n";
    const DIRECT: &str = "mode = 'direct'\nehlo = 'mail.shop.example'\n";

    #[test]
    fn a_smarthost_has_an_address_and_direct_mail_a_port() {
        let submission = format!("{SMARTHOST}user = 'pabal'");
        assert!(settings("smtp://relay.example:587", &submission).is_ok());
        assert!(settings("smtps://relay.example:465", &submission).is_ok());
        let direct = settings("smtp://mx:25", DIRECT).unwrap();
        assert!(matches!(direct.way, Way::Direct(Direct { port: 25, .. })));
        assert!(settings("smtp://relay.example:25", DIRECT).is_err());
        assert!(settings("smtps://mx:465", DIRECT).is_err());
        assert!(settings("http://relay.example", SMARTHOST).is_err());
    }

    #[test]
    fn a_password_goes_over_tls_only() {
        for tls in ["none", "opportunistic"] {
            let text = format!("{SMARTHOST}user = 'pabal'\ntls = '{tls}'");
            let said = settings("smtp://relay.example:587", &text).err().unwrap();
            assert!(
                said.contains("TLS") && !said.contains("password\""),
                "{said}"
            );
            assert!(settings("smtp://127.0.0.1:587", &text).is_ok());
        }
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        for (more, name) in [
            ("user = ''", "user"),
            ("nameserver = '127.0.0.1:53'", "nameserver"),
            ("private_targets = true", "private_targets"),
            ("most_at_once = 0", "most_at_once"),
            ("per_connection = 0", "per_connection"),
            ("return_path = 'bounces'", "bounces"),
            ("tls = 'maybe'", "maybe"),
            ("helo = 'x'", "helo"),
            (
                "dkim = [{ domain = 'shop.example', selector = 's', key_file = '/nowhere' }]",
                "/nowhere",
            ),
        ] {
            let said = settings("smtp://relay.example:587", &format!("{SMARTHOST}{more}"));
            let said = said.err().unwrap_or_else(|| panic!("{more} was allowed"));
            assert!(said.contains(name), "{said}");
        }
        assert!(settings("smtp://mx:25", &format!("{DIRECT}user = 'pabal'")).is_err());
        assert!(settings("smtp://mx:25", "mode = 'direct'\nehlo = 'localhost'").is_err());
    }
}
