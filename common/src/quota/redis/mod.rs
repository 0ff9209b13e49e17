//! Limits over all receivers, counted in Redis.
//!
//! Each receiver leases a small part of a limit and gives that out, so that not every request costs
//! a round trip. Redis may be away at any time, from the start even: each receiver then gives out
//! its share by itself, and says so once.

use std::fmt;
use std::sync::Arc;

use ::redis::{Client, IntoConnectionInfo};
use async_trait::async_trait;
use moka::future::Cache;
use secrecy::{ExposeSecret, SecretString};
use tokio_util::task::AbortOnDropHandle;

use super::local::{IDLE, Limit, PARTNERS, Receivers};
use super::{Meter, Quota, QuotaError, Room};
use crate::domain::id::{ClientMsgId, MessageId, PartnerId};

mod link;
mod pool;
mod repeats;
mod script;
mod trouble;

use link::{Link, in_time};
use pool::{Demand, Pool, Reply, Terms};
use repeats::Repeats;

/// Where Redis is.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://user@host:6379/0`, or `rediss://` for TLS.
    pub url: String,
    /// The password, if it is not part of the URL.
    pub password: Option<SecretString>,
    /// What every key begins with.
    pub prefix: String,
}

impl fmt::Debug for RedisConfig {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// One limit over all receivers that share a Redis and a prefix.
#[derive(Debug)]
pub struct RedisQuota {
    link: Arc<Link>,
    pools: Cache<(PartnerId, Meter), Arc<Pool>>,
    prefix: String,
    receivers: Receivers,
    repeats: Repeats,
    _keeping: AbortOnDropHandle<()>,
}

impl RedisQuota {
    /// Starts without waiting for Redis, which may come later.
    ///
    /// # Errors
    /// [`QuotaError::Misconfigured`] if the URL is none.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start(config: RedisConfig) -> Result<Self, QuotaError> {
        let RedisConfig {
            url,
            password,
            prefix,
        } = config;
        let client = client(url, password)
            .map_err(|error| QuotaError::Misconfigured(trouble::bad_url(&error)))?;
        let link = Arc::new(Link::new(client, prefix.clone()));
        let keeping = tokio::spawn(Arc::clone(&link).keep());
        let pools = Cache::builder()
            .max_capacity(PARTNERS)
            .time_to_idle(IDLE)
            .build();
        Ok(Self {
            repeats: Repeats::start(Arc::clone(&link), prefix.clone()),
            link,
            pools,
            prefix,
            receivers: Receivers::default(),
            _keeping: AbortOnDropHandle::new(keeping),
        })
    }

    /// Starts, and waits until Redis counts.
    ///
    /// # Errors
    /// As [`start`](Self::start) and [`check`](Self::check).
    pub async fn connect(config: RedisConfig) -> Result<Self, QuotaError> {
        let quota = Self::start(config)?;
        quota.check().await?;
        Ok(quota)
    }

    /// Whether Redis counts: everything that is asked of it was tried. It waits for the first
    /// attempt, and that only for seconds.
    ///
    /// # Errors
    /// [`QuotaError::Misconfigured`] if a setting must be corrected, [`QuotaError::Unavailable`] if
    /// Redis may come by itself. The limits go on without it in either case.
    pub async fn check(&self) -> Result<(), QuotaError> {
        self.link.check().await
    }

    async fn pool(&self, partner: &PartnerId, meter: Meter) -> Arc<Pool> {
        let new = async {
            let (meter, terms) = match meter {
                Meter::Messages => ("messages", Terms::CLOSE),
                Meter::Express => ("express", Terms::CLOSE),
                Meter::Fair => ("fair", Terms::LOOSE),
            };
            let key = format!("{}rate:{partner}:{meter}", self.prefix);
            Arc::new(Pool::new(key, terms))
        };
        self.pools.get_with((partner.clone(), meter), new).await
    }
}

fn client(url: String, password: Option<SecretString>) -> ::redis::RedisResult<Client> {
    let info = url.into_connection_info()?;
    let mut settings = info.redis_settings().clone();
    if let Some(password) = password {
        settings = settings.set_password(password.expose_secret());
    }
    Client::open(info.set_redis_settings(settings))
}

#[async_trait]
impl Quota for RedisQuota {
    async fn take(&self, partner: &PartnerId, meter: Meter, per_second: u32, items: u32) -> Room {
        let limit = match Limit::of(per_second, items) {
            Ok(limit) => limit,
            Err(room) => return room,
        };
        let demand = Demand {
            share: self.receivers.share(limit),
            items,
        };
        let pool = self.pool(partner, meter).await;
        if self.link.is_there() {
            match pool.take(&self.link, demand) {
                Reply::Now(room) => return room,
                Reply::Later(reply) => {
                    if let Some(Ok(room)) = in_time(reply).await {
                        return room;
                    }
                }
            }
        }
        pool.take_alone(demand)
    }

    fn note_receivers(&self, live: usize) {
        self.receivers.note(live);
    }

    async fn remember(&self, partner: &PartnerId, client: &ClientMsgId, message: MessageId) {
        self.repeats.remember(partner, client, message);
    }

    async fn recall(&self, partner: &PartnerId, client: &ClientMsgId) -> Option<MessageId> {
        self.repeats.recall(partner, client).await
    }
}
