//! What the broker's answers mean for the operator.

use std::io;
use std::time::Duration;

use lapin::ErrorKind;

use super::address::Address;
use crate::broker::{BrokerError, QueueName};
use crate::deadline::NoAnswer as _;

// Reply codes of AMQP 0-9-1.
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const RESOURCE_LOCKED: u16 = 405;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// What a command answered within `limit`.
pub(super) async fn answered<T>(
    limit: Duration,
    command: impl Future<Output = lapin::Result<T>>,
    address: &Address,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(limit, command).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(of_command(&error, address)),
        Err(_) => Err(BrokerError::no_answer(limit)),
    }
}

/// Why a connection could not be made.
pub(super) fn of_connecting(error: &lapin::Error, address: &Address) -> BrokerError {
    let (user, vhost) = (address.user(), address.vhost());
    let sentence = match (reply(error), error.kind()) {
        (Some((ACCESS_REFUSED, _)), _) => format!(
            "broker.password_file: RabbitMQ at {address} refuses user {user:?}: check the password \
             there (or in broker.url) and that the user exists"
        ),
        (Some((NOT_ALLOWED, text)), _) if text.contains("not found") => format!(
            "broker.url: RabbitMQ at {address} has no vhost {vhost:?}: create it with \
             `rabbitmqctl add_vhost {vhost}`, or name another"
        ),
        (Some((NOT_ALLOWED, text)), _) if text.contains("refused for user") => format!(
            "broker.url: user {user:?} may not use the vhost {vhost:?} of RabbitMQ at {address}: \
             {}, or name another",
            grant(address)
        ),
        (_, ErrorKind::InvalidProtocolVersion(_) | ErrorKind::ParsingError(_)) => format!(
            "broker.url: what answers at {address} does not speak AMQP 0-9-1: check host and port"
        ),
        (_, ErrorKind::IOError(cause)) if cause.kind() == io::ErrorKind::InvalidData => format!(
            "broker.url: no TLS with {address} ({cause}): check the scheme, the port and the \
             broker's certificate"
        ),
        _ => return BrokerError::Unavailable(format!("{address}: {error}")),
    };
    BrokerError::Misconfigured(sentence)
}

/// Why a command failed. A queue that is missing is [`BrokerError::Returned`].
pub(super) fn of_command(error: &lapin::Error, address: &Address) -> BrokerError {
    match reply(error) {
        Some((ACCESS_REFUSED, text)) => BrokerError::Misconfigured(format!(
            "broker.url: user {:?} lacks a right on RabbitMQ at {address} ({text}): {}",
            address.user(),
            grant(address)
        )),
        Some((PRECONDITION_FAILED, text)) if text.contains("inequivalent") => {
            BrokerError::Misconfigured(format!(
                "broker.prefix: a queue or exchange of RabbitMQ at {address} was declared with \
                 other properties ({text}): let it run empty and delete it, or choose another \
                 prefix"
            ))
        }
        // Which queue is known to whoever asked; a missing one is healed by declaring it again.
        Some((NOT_FOUND, _)) => BrokerError::Returned(QueueName::Report),
        _ => BrokerError::Unavailable(error.to_string()),
    }
}

/// Whether someone else holds what was asked for.
pub(super) fn is_locked(error: &lapin::Error) -> bool {
    matches!(reply(error), Some((RESOURCE_LOCKED, _)))
}

fn grant(address: &Address) -> String {
    format!(
        "grant it with `rabbitmqctl set_permissions -p {} {} '.*' '.*' '.*'`",
        address.vhost(),
        address.user()
    )
}

fn reply(error: &lapin::Error) -> Option<(u16, &str)> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some((error.get_id(), error.get_message().as_str())),
        _ => None,
    }
}
