//! Mail addresses, and the headers a partner may set.
//!
//! Addresses are what every mail server takes: a dot-atom before the `@`, a host name in ASCII behind
//! it (RFC 5321 §4.1.2 without quoted strings, address literals and SMTPUTF8). Nothing parsed here can
//! hold a line break, so nothing of it can begin a header or a command of its own.

use std::fmt;
use std::str::FromStr;

/// The longest part before the `@`, in octets (RFC 5321 §4.5.3.1.1).
const LONGEST_LOCAL: usize = 64;
/// The longest address: a path of 256 octets less its angle brackets (RFC 5321 §4.5.3.1.3).
const LONGEST_ADDRESS: usize = 254;
/// The longest host name without its final dot (RFC 1035 §2.3.4).
const LONGEST_DOMAIN: usize = 253;
/// The longest name beside an address, in characters.
const LONGEST_NAME: usize = 100;
/// The longest value of a header, in characters.
const LONGEST_VALUE: usize = 900;

/// An address such as `kim@shop.example`. `Debug` and `Display` mask it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MailAddress {
    text: Box<str>,
    at: usize,
}

/// The text is no address that every mail server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a mail address is like kim@shop.example: letters, digits and -_.+ in ASCII, then a domain"
)]
pub struct NotAnAddress;

impl MailAddress {
    /// The longest one, in characters.
    pub const MAX: usize = LONGEST_ADDRESS;

    /// The real address. Not for logs.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What stands before the `@`. Not for logs.
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// Its domain, in lower case.
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }

    /// The same, as a value of its own.
    pub fn mail_domain(&self) -> MailDomain {
        MailDomain(self.domain().into())
    }
}

impl FromStr for MailAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let (local, domain) = text.rsplit_once('@').ok_or(NotAnAddress)?;
        let domain: MailDomain = domain.parse().map_err(|_| NotAnAddress)?;
        if !is_dot_atom(local) || local.len() > LONGEST_LOCAL || text.len() > LONGEST_ADDRESS {
            return Err(NotAnAddress);
        }
        Ok(Self {
            at: local.len(),
            text: format!("{local}@{domain}").into(),
        })
    }
}

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "***@{}", self.domain())
    }
}

impl fmt::Debug for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailAddress({self})")
    }
}

/// A domain that mail comes from or goes to, in lower case and without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailDomain(Box<str>);

/// The text is no host name of two labels or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a mail domain is like shop.example: two labels or more of letters, digits and hyphens")]
pub struct NotADomain;

impl MailDomain {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MailDomain {
    type Err = NotADomain;

    fn from_str(text: &str) -> Result<Self, NotADomain> {
        let is_name = text.len() <= LONGEST_DOMAIN
            && text.split('.').count() >= 2
            && text.split('.').all(is_label)
            // Otherwise it is an IPv4 address.
            && !text.ends_with(|last: char| last.is_ascii_digit());
        match is_name {
            true => Ok(Self(text.to_ascii_lowercase().into())),
            false => Err(NotADomain),
        }
    }
}

impl fmt::Display for MailDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// RFC 5322 §3.2.3.
fn is_dot_atom(text: &str) -> bool {
    let is_atext =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

/// An address, perhaps with a name: `kim@shop.example` or `김 <kim@shop.example>`. `Debug` masks it.
#[derive(Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// The name, without quotes.
    pub name: Option<String>,
    /// The address.
    pub address: MailAddress,
}

impl Mailbox {
    /// As it is written in a request.
    pub fn expose(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} <{}>", self.address.expose()),
            None => self.address.expose().to_owned(),
        }
    }
}

impl FromStr for Mailbox {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let Some(inner) = text.strip_suffix('>') else {
            let address = text.parse()?;
            return Ok(Self {
                name: None,
                address,
            });
        };
        let (name, address) = inner.rsplit_once('<').ok_or(NotAnAddress)?;
        let name = name.trim();
        let quoted = name
            .strip_prefix('"')
            .and_then(|name| name.strip_suffix('"'));
        let name = quoted.unwrap_or(name);
        let is_odd = |c: char| c.is_control() || matches!(c, '<' | '>' | '"' | '\\');
        if name.chars().any(is_odd) || name.chars().count() > LONGEST_NAME {
            return Err(NotAnAddress);
        }
        Ok(Self {
            name: (!name.is_empty()).then(|| name.to_owned()),
            address: address.parse()?,
        })
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox({})", self.address)
    }
}

/// The header by which a recipient leaves a list (RFC 2369, and RFC 8058 for one click).
pub const LIST_UNSUBSCRIBE: &str = "List-Unsubscribe";

/// Headers a partner may set, beside those that begin with `X-`. Every other one is ours, or says who
/// sent the mail and how it is read.
pub const ALLOWED_HEADERS: [&str; 10] = [
    "Auto-Submitted",
    "Feedback-ID",
    "Importance",
    "In-Reply-To",
    "Keywords",
    "List-Help",
    "List-Id",
    LIST_UNSUBSCRIBE,
    "Precedence",
    "References",
];

/// Why a header cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderRefused {
    /// The name is not one a partner may set.
    #[error("this header is not for partners to set")]
    Name,
    /// The value is empty, too long, or holds a line break or another control character.
    #[error("a header's value is one line of at most {LONGEST_VALUE} characters")]
    Value,
}

/// Whether a partner may set this header to this value.
///
/// # Errors
/// [`HeaderRefused`].
pub fn check_header(name: &str, value: &str) -> Result<(), HeaderRefused> {
    let is_own = name
        .get(..2)
        .is_some_and(|start| start.eq_ignore_ascii_case("X-"))
        && (3..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_own
        && !ALLOWED_HEADERS
            .iter()
            .any(|one| one.eq_ignore_ascii_case(name))
    {
        return Err(HeaderRefused::Name);
    }
    let is_line = !value.trim().is_empty()
        && value.chars().count() <= LONGEST_VALUE
        && !value.chars().any(char::is_control);
    match is_line {
        true => Ok(()),
        false => Err(HeaderRefused::Value),
    }
}

/// Whether the value of a [`LIST_UNSUBSCRIBE`] header lets the recipient leave by one click: one of
/// its addresses is `https` (RFC 8058 §3.1).
pub fn unsubscribes_by_one_click(value: &str) -> bool {
    value.split(',').any(|one| {
        let address = one
            .trim()
            .strip_prefix('<')
            .and_then(|one| one.strip_suffix('>'));
        address.is_some_and(|address| {
            address.starts_with("https://") && !address.contains([' ', '<', '>'])
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usual_addresses_are_taken_and_their_domain_is_lower_case() {
        for (text, domain) in [
            ("kim@shop.example", "shop.example"),
            ("a.b+tag_1@Mail.Shop.Example", "mail.shop.example"),
            ("o'neil/x=y@xn--9n2bp8q.example", "xn--9n2bp8q.example"),
        ] {
            let address: MailAddress = text.parse().unwrap();
            assert_eq!(address.domain(), domain);
            assert_eq!(address.local(), text.split('@').next().unwrap());
        }
    }

    #[test]
    fn what_some_servers_would_not_take_is_no_address() {
        let long = format!("{}@shop.example", "a".repeat(65));
        for text in [
            "",
            "kim",
            "@shop.example",
            "kim@",
            "kim@localhost",
            "kim@127.0.0.1",
            "kim@[127.0.0.1]",
            "kim@shop..example",
            "kim@-shop.example",
            "kim@shop.example.",
            ".kim@shop.example",
            "ki..m@shop.example",
            "\"a b\"@shop.example",
            "a b@shop.example",
            "김@shop.example",
            "kim@가게.example",
            "kim@shop.example\r\nRCPT TO:<x@y.example>",
            "kim@shop.example>",
            &long,
        ] {
            assert_eq!(text.parse::<MailAddress>(), Err(NotAnAddress), "{text:?}");
        }
    }

    #[test]
    fn a_mailbox_is_an_address_with_or_without_a_name() {
        let of = |text: &str| text.parse::<Mailbox>();
        assert_eq!(of("kim@shop.example").unwrap().name, None);
        assert_eq!(of("<kim@shop.example>").unwrap().name, None);
        for text in [
            "파발 가게 <kim@shop.example>",
            "\"파발 가게\" <kim@shop.example>",
        ] {
            let mailbox = of(text).unwrap();
            assert_eq!(mailbox.name.as_deref(), Some("파발 가게"));
            assert_eq!(of(&mailbox.expose()), Ok(mailbox));
        }
        for text in [
            "a\nb <kim@shop.example>",
            "a <b> <kim@shop.example>",
            "kim@shop.example>",
            "x",
        ] {
            assert_eq!(of(text), Err(NotAnAddress), "{text:?}");
        }
    }

    #[test]
    fn only_headers_that_change_nothing_of_ours_may_be_set() {
        for name in [
            "X-Campaign",
            "x-a",
            "List-Unsubscribe",
            "list-id",
            "References",
        ] {
            assert_eq!(check_header(name, "v"), Ok(()), "{name}");
        }
        for name in [
            "",
            "X-",
            "From",
            "Sender",
            "Bcc",
            "DKIM-Signature",
            "Content-Type",
            "X-A:",
            "X-a b",
            "Received",
            "Message-ID",
        ] {
            assert_eq!(check_header(name, "v"), Err(HeaderRefused::Name), "{name}");
        }
        for value in [
            "",
            " ",
            "a\r\nBcc: x@y.example",
            "a\nb",
            "a\0",
            &"v".repeat(901),
        ] {
            assert_eq!(
                check_header("X-A", value),
                Err(HeaderRefused::Value),
                "{value:?}"
            );
        }
    }

    #[test]
    fn one_click_needs_an_https_address() {
        assert!(unsubscribes_by_one_click(
            "<mailto:leave@shop.example>, <https://shop.example/leave/1>"
        ));
        for value in [
            "",
            "https://shop.example",
            "<mailto:leave@shop.example>",
            "<http://shop.example/1>",
            "<https://a b>",
        ] {
            assert!(!unsubscribes_by_one_click(value), "{value:?}");
        }
    }

    #[test]
    fn no_address_is_shown_by_debug() {
        let mailbox: Mailbox = "Kim <kim@shop.example>".parse().unwrap();
        let shown = format!("{mailbox:?} {:?}", mailbox.address);
        assert!(!shown.contains("kim") && !shown.contains("Kim"), "{shown}");
    }

    proptest! {
        #[test]
        fn whatever_is_an_address_has_no_space_control_or_bracket(text in "\\PC{0,40}|[a-z@.<>\r\n ]{0,30}") {
            if let Ok(mailbox) = text.parse::<Mailbox>() {
                let shown = mailbox.address.expose();
                prop_assert!(shown.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>()[]:;,\"\\".contains(&byte)));
            }
        }
    }
}
