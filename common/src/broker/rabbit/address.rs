//! Which broker, as whom.

use std::fmt;

use lapin::uri::AMQPUri;
use secrecy::ExposeSecret as _;

use super::RabbitConfig;
use crate::broker::BrokerError;

/// Both sides send something this often, and a side that hears nothing for twice as long takes the
/// connection for dead. `?heartbeat=` in the URL says otherwise.
const HEARTBEAT_SECONDS: u16 = 10;

/// A broker's address with the password in it. It is shown without.
pub(super) struct Address {
    uri: AMQPUri,
}

impl Address {
    pub(super) fn new(config: &RabbitConfig) -> Result<Self, BrokerError> {
        // What is wrong with it is not quoted: the URL may hold a password.
        let unusable = |why: &str| {
            BrokerError::Misconfigured(format!(
                "broker.url {why}: write amqp://user@host:5672/vhost, or amqps:// for TLS"
            ))
        };
        if config.url.contains('[') {
            return Err(unusable("has an IPv6 address, where a host name is needed"));
        }
        let mut uri: AMQPUri = config
            .url
            .parse()
            .map_err(|_| unusable("is not an AMQP address"))?;
        if !config.url.contains("://") || uri.authority.host.is_empty() {
            return Err(unusable("names no host"));
        }
        if uri.vhost.is_empty() {
            uri.vhost = "/".to_owned();
        }
        if let Some(password) = &config.password {
            password
                .expose_secret()
                .clone_into(&mut uri.authority.userinfo.password);
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        uri.query.connection_timeout = u64::try_from(super::ANSWER.as_millis()).ok();
        Ok(Self { uri })
    }

    pub(super) fn uri(&self) -> AMQPUri {
        self.uri.clone()
    }

    pub(super) fn user(&self) -> &str {
        &self.uri.authority.userinfo.username
    }

    pub(super) fn vhost(&self) -> &str {
        &self.uri.vhost
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uri.authority.host, self.uri.authority.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str, password: Option<&str>) -> Result<Address, BrokerError> {
        Address::new(&RabbitConfig {
            url: url.to_owned(),
            password: password.map(Into::into),
            prefix: String::new(),
            window: 1,
        })
    }

    #[test]
    fn a_password_of_its_own_goes_before_the_one_in_the_url() {
        let password = |url, given| {
            address(url, given)
                .unwrap()
                .uri()
                .authority
                .userinfo
                .password
        };
        assert_eq!(password("amqp://u:one@h", None), "one");
        assert_eq!(password("amqp://u:one@h", Some("two")), "two");
        assert_eq!(password("amqp://u@h", Some("two")), "two");
    }

    #[test]
    fn a_url_without_a_vhost_means_the_default_one() {
        for url in ["amqp://h", "amqp://h/", "amqp://h/%2f"] {
            assert_eq!(address(url, None).unwrap().vhost(), "/", "{url}");
        }
        assert_eq!(address("amqp://h/pabal", None).unwrap().vhost(), "pabal");
    }

    #[test]
    fn a_wrong_url_is_refused_by_the_name_of_its_setting_and_without_its_password() {
        for url in [
            "",
            "h:5672",
            "http://u:hidden@h",
            "amqp:u:hidden@h",
            "amqp://u:hidden@[::1]:5672",
            "amqp://u:hidden@h:port",
        ] {
            let error = address(url, None).err().unwrap();
            let BrokerError::Misconfigured(sentence) = error else {
                panic!("{url}: {error}");
            };
            assert!(sentence.starts_with("broker.url "), "{sentence}");
            assert!(!sentence.contains("hidden"), "{sentence}");
        }
    }

    #[test]
    fn an_address_is_shown_without_user_and_password() {
        let shown = address("amqp://u:hidden@h:1", None).unwrap().to_string();
        assert_eq!(shown, "h:1");
    }
}
