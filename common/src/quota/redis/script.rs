//! The script that counts, and what is asked of it.

use std::sync::LazyLock;

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisResult, Script};

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("take.lua")));

/// What one call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// The limit, in items a second.
    pub(super) per_second: u32,
    /// Items given out without asking.
    pub(super) unasked: u32,
    /// How many items beyond the demands are welcome.
    pub(super) welcome: u32,
    /// Demands, each met whole or not at all.
    pub(super) demands: Vec<u32>,
}

/// What Redis says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The items beyond the demands.
    pub(super) beyond: u32,
    /// Microseconds until room begins to grow; negative when there is room.
    pub(super) room_in: i64,
    /// Which demands are met.
    pub(super) met: Vec<bool>,
}

impl Question {
    /// Asks. A server that does not know the script is given it.
    pub(super) async fn put(
        &self,
        key: &str,
        mut connection: MultiplexedConnection,
    ) -> RedisResult<Answer> {
        let mut call = TAKE.key(key);
        call.arg(self.per_second)
            .arg(self.unasked)
            .arg(self.welcome)
            .arg(&self.demands);
        let numbers: Vec<i64> = call.invoke_async(&mut connection).await?;
        let mut numbers = numbers.into_iter();
        Ok(Answer {
            beyond: numbers
                .next()
                .and_then(|items| u32::try_from(items).ok())
                .unwrap_or(0),
            room_in: numbers.next().unwrap_or(0),
            met: numbers.map(|met| met == 1).collect(),
        })
    }
}
