//! What an error of Redis means to the operator.

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use super::super::QuotaError;

/// The command does not fit what stands under this one key.
pub(super) fn is_of_one_key(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

/// Whether it is a setting that is wrong, or Redis that is away.
pub(super) fn explain(error: &RedisError, prefix: &str) -> QuotaError {
    let sentence = match (error.kind(), error.code()) {
        (ErrorKind::InvalidClientConfig, _) => bad_url(error),
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS")) => {
            "Redis refuses the user or the password: correct the user in quota.url and the \
             password in the file that quota.password_file names"
                .to_owned()
        }
        (_, Some("NOAUTH")) => "Redis asks for a password: put it into a file and name that file \
                                by quota.password_file"
            .to_owned(),
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => missing_right(error, prefix),
        _ if is_refused_in_script(error) => missing_right(error, prefix),
        (ErrorKind::Parse, _) => {
            "what answers is not Redis: correct the host and the port in quota.url".to_owned()
        }
        _ if error.to_string().contains("DB index is out of range") => {
            "Redis has no database of this number: correct the number at the end of quota.url"
                .to_owned()
        }
        _ => return QuotaError::Unavailable(error.to_string()),
    };
    QuotaError::Misconfigured(sentence)
}

/// The URL cannot be read. It is not repeated: it may hold a password.
pub(super) fn bad_url(error: &RedisError) -> String {
    format!(
        "quota.url is not the address of a Redis ({}): write redis://host:6379/0, or rediss:// \
         for TLS",
        error.category()
    )
}

fn missing_right(error: &RedisError, prefix: &str) -> String {
    let detail = error.detail().unwrap_or("NOPERM");
    format!(
        "the Redis user of quota.url lacks a right ({detail}): give it \
         `~{prefix}* +ping +time +get +set +evalsha +script|load`"
    )
}

/// A command inside the script was refused; Redis says so by text alone.
fn is_refused_in_script(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default();
    // Redis 7.0, and later ones.
    detail.contains("The user executing the script can't") || detail.contains("ACL failure")
}
