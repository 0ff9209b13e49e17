//! The connection to Redis: there, or not, and never waited for.
//!
//! One task keeps it. A call that fails or is late gives the connection up; the task then makes a
//! new one, and until it works no call is made. A kept connection whose answers no longer come
//! would cost every request its wait.

use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, RedisError, RedisResult};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::super::QuotaError;
use super::script::Question;
use super::trouble;
use crate::telemetry::metric;

/// How long a call is waited for.
const ANSWER: Duration = Duration::from_millis(100);
/// How long a connection and the trial on it may take.
const OPENING: Duration = Duration::from_secs(2);
/// The time from one attempt to connect to the next, and between looks at an idle connection.
const RETRY: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_secs(1);

/// What is known of Redis.
#[derive(Clone, Debug)]
enum Standing {
    /// Nothing yet.
    Starting,
    /// It counts, over the connection of this number.
    There(u64, MultiplexedConnection),
    /// It does not, for this reason.
    Away(QuotaError),
}

/// A connection to Redis that comes and goes.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    prefix: String,
    standing: watch::Sender<Standing>,
}

impl Link {
    pub(super) fn new(client: Client, prefix: String) -> Self {
        Self {
            client,
            prefix,
            standing: watch::Sender::new(Standing::Starting),
        }
    }

    /// Whether a call can be made.
    pub(super) fn is_there(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::There(..))
    }

    /// Waits for the first attempt to connect, if it is still under way.
    ///
    /// # Errors
    /// Why Redis does not count.
    pub(super) async fn check(&self) -> Result<(), QuotaError> {
        let mut standing = self.standing.subscribe();
        let known = standing.wait_for(|now| !matches!(now, Standing::Starting));
        match known.await.as_deref() {
            Ok(Standing::Away(error)) => Err(error.clone()),
            // The sender is in `self`.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Makes a call and waits for the answer, not for long. `None` if there is none; the connection
    /// is then given up, unless it is only this key that is wrong.
    pub(super) async fn call<T, Calling>(
        &self,
        call: impl FnOnce(MultiplexedConnection) -> Calling,
    ) -> Option<T>
    where
        Calling: Future<Output = RedisResult<T>>,
    {
        let (number, connection) = self.connection()?;
        let error = match in_time(call(connection)).await {
            Some(Ok(answer)) => return Some(answer),
            Some(Err(error)) if trouble::is_of_one_key(&error) => return None,
            Some(Err(error)) => trouble::explain(&error, &self.prefix),
            None => QuotaError::Unavailable(format!("no answer within {ANSWER:?}")),
        };
        self.give_up(number, error);
        None
    }

    /// Keeps the connection, for ever.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut attempts = interval(RETRY);
        attempts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0.. {
            attempts.tick().await;
            match self.open().await {
                Ok(connection) => {
                    self.set(Standing::There(number, connection));
                    self.watch_over().await;
                }
                Err(error) => self.set(Standing::Away(error)),
            }
        }
    }

    /// Asks now and then whether Redis is there, so that its absence is known before a request
    /// meets it; until it is not.
    async fn watch_over(&self) {
        let mut standing = self.standing.subscribe();
        let lost = standing.wait_for(|now| !matches!(now, Standing::There(..)));
        let look = async {
            loop {
                sleep(LOOK).await;
                let ping = async |mut connection: MultiplexedConnection| {
                    ::redis::cmd("PING")
                        .query_async::<()>(&mut connection)
                        .await
                };
                self.call(ping).await;
            }
        };
        tokio::select! {
            _ = lost => {}
            () = look => {}
        }
    }

    /// A connection on which everything that will be asked for was tried once.
    async fn open(&self) -> Result<MultiplexedConnection, QuotaError> {
        let opening = async {
            // Each call has its own limit, and a connection is not closed by one that is late.
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(OPENING))
                .set_response_timeout(Some(OPENING));
            let connection = self
                .client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            self.try_out(connection.clone()).await?;
            Ok(connection)
        };
        match timeout(OPENING, opening).await {
            Ok(opened) => {
                opened.map_err(|error: RedisError| trouble::explain(&error, &self.prefix))
            }
            Err(_) => Err(QuotaError::Unavailable(format!(
                "no connection within {OPENING:?}"
            ))),
        }
    }

    async fn try_out(&self, mut connection: MultiplexedConnection) -> RedisResult<()> {
        let question = Question {
            per_second: 1000,
            unasked: 0,
            welcome: 0,
            demands: vec![1],
        };
        let counted = format!("{}trial", self.prefix);
        question.put(&counted, connection.clone()).await?;
        // The script takes a value that it may not read for none.
        let get = ::redis::cmd("GET").arg(&counted).to_owned();
        get.query_async(&mut connection).await
    }

    fn connection(&self) -> Option<(u64, MultiplexedConnection)> {
        match &*self.standing.borrow() {
            Standing::There(number, connection) => Some((*number, connection.clone())),
            Standing::Starting | Standing::Away(_) => None,
        }
    }

    fn give_up(&self, number: u64, error: QuotaError) {
        let is_current = |standing: &Standing| matches!(standing, Standing::There(current, _) if *current == number);
        self.change(is_current, Standing::Away(error));
    }

    fn set(&self, new: Standing) {
        self.change(|_| true, new);
    }

    /// Goes over to `new` if it still applies, and tells of every change once.
    fn change(&self, applies: impl FnOnce(&Standing) -> bool, new: Standing) {
        self.standing.send_if_modified(|standing| {
            let applies = applies(standing);
            if applies {
                tell(standing, &new);
                *standing = new;
            }
            applies
        });
    }
}

/// What comes within the time that an answer may take. It is waited for in two steps, so that a
/// pause of this process, which says nothing about Redis, uses up one of them at most.
pub(super) async fn in_time<T>(answer: impl Future<Output = T>) -> Option<T> {
    let patience = async {
        sleep(ANSWER / 2).await;
        sleep(ANSWER / 2).await;
    };
    tokio::select! {
        biased;
        answer = answer => Some(answer),
        () = patience => None,
    }
}

fn tell(old: &Standing, new: &Standing) {
    metric::quota_degraded(!matches!(new, Standing::There(..)));
    match (old, new) {
        (Standing::Away(before), Standing::Away(error))
            if discriminant(before) == discriminant(error) => {}
        (_, Standing::Away(error)) => {
            tracing::warn!(%error, "Redis does not count: each receiver limits by its share");
        }
        (_, Standing::There(..)) => tracing::info!("Redis counts the limits of all receivers"),
        (_, Standing::Starting) => {}
    }
}
