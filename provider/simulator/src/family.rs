//! The simulated vendor families, and in one place what tells them apart.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::callbacks::Callback;
use crate::service::Service;
use crate::vendor::{
    Vendor, carrier, kakao, navertalk, nhn, rbm, rcshub, smpp, smtp, solapi, talk,
};

/// A vendor family: one wire format, one door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// SMS, LMS and MMS: accepts, then calls back with its own id alone.
    Carrier,
    /// RCS: accepts, then calls back with its id and ours.
    Rcshub,
    /// Kakao: Alimtalk answers finally, Brand Message is polled; can be asked.
    Kakao,
    /// Naver TalkTalk: answers finally, one message a call, never reports.
    Talk,
    /// Naver TalkTalk by its own API: as the reference protocol, with fewer codes.
    Navertalk,
    /// Google RCS Business Messaging: one message a call, then an event with our id.
    Rbm,
    /// Solapi: SMS to RCS, accepts, then calls back with its id and ours; can be asked.
    Solapi,
    /// NHN Cloud: SMS or Kakao, one message a call, then a callback with both ids; can be polled
    /// and asked.
    Nhn,
    /// SMPP 3.4: SMS and LMS over binds, reported over any of them with its own id alone.
    Smpp,
    /// SMTP: e-mail, one a call; answers finally, never reports.
    Smtp,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 10] = [
        Self::Carrier,
        Self::Rcshub,
        Self::Kakao,
        Self::Talk,
        Self::Navertalk,
        Self::Rbm,
        Self::Solapi,
        Self::Nhn,
        Self::Smpp,
        Self::Smtp,
    ];

    /// The families of the reference protocols: what is started unless something else is asked for.
    pub const PLAIN: [Self; 4] = [Self::Carrier, Self::Rcshub, Self::Kakao, Self::Talk];

    /// One for every message type.
    pub const EVERY_TYPE: [Self; 5] = [
        Self::Carrier,
        Self::Rcshub,
        Self::Kakao,
        Self::Talk,
        Self::Smtp,
    ];

    /// Its name, which is also the name of its protocol.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Carrier => "carrier",
            Self::Rcshub => "rcshub",
            Self::Kakao => "kakao",
            Self::Talk => "talk",
            Self::Navertalk => "navertalk",
            Self::Rbm => "rbm",
            Self::Solapi => "solapi",
            Self::Nhn => "nhn",
            Self::Smpp => "smpp",
            Self::Smtp => "smtp",
        }
    }

    /// The family with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// The most messages in one call.
    pub const fn batch(self) -> usize {
        match self {
            Self::Carrier | Self::Kakao | Self::Solapi => 100,
            Self::Rcshub => 20,
            Self::Talk | Self::Navertalk | Self::Rbm | Self::Nhn | Self::Smtp => 1,
            Self::Smpp => 10,
        }
    }

    /// How the vendor writes its id `number` in answers.
    pub fn vendor_id(self, number: u64) -> String {
        match self {
            Self::Carrier => format!("{number:016X}"),
            Self::Rcshub => format!("RCS-{number:016X}"),
            Self::Kakao => format!("KKO{number:020}"),
            Self::Talk | Self::Navertalk | Self::Rbm | Self::Smtp => number.to_string(),
            Self::Solapi => format!("M4V{number:029}"),
            Self::Nhn => nhn::vendor_id(number),
            Self::Smpp => format!("{number:x}"),
        }
    }

    /// The scheme of its base URL.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Carrier
            | Self::Solapi
            | Self::Rcshub
            | Self::Kakao
            | Self::Talk
            | Self::Navertalk
            | Self::Rbm
            | Self::Nhn => "http",
            Self::Smpp => "smpp",
            Self::Smtp => "smtp",
        }
    }

    /// What an account of it needs beyond a key and a secret, as a local account has it.
    pub const fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Carrier | Self::Rcshub | Self::Kakao | Self::Talk | Self::Navertalk => &[],
            Self::Rbm => rbm::SETTINGS,
            Self::Solapi => solapi::SETTINGS,
            Self::Nhn => nhn::SETTINGS,
            Self::Smpp => smpp::SETTINGS,
            Self::Smtp => smtp::SETTINGS,
        }
    }

    /// The key of a local account.
    pub const fn api_key(self) -> &'static str {
        match self {
            Self::Rbm => rbm::ACCOUNT_KEY,
            Self::Smpp => smpp::PASSWORD,
            _ => "simulator-key",
        }
    }

    /// Whether it ever reports; where it does not, its answer is the end.
    pub const fn reports(self) -> bool {
        match self {
            Self::Carrier | Self::Rcshub | Self::Kakao | Self::Rbm | Self::Solapi | Self::Nhn => {
                true
            }
            Self::Talk | Self::Navertalk | Self::Smtp => false,
            Self::Smpp => true,
        }
    }

    /// Whether results can be polled and asked for. It may call back as well.
    pub const fn is_polled(self) -> bool {
        match self {
            Self::Kakao | Self::Solapi | Self::Nhn => true,
            Self::Carrier | Self::Rcshub | Self::Talk | Self::Navertalk | Self::Rbm => false,
            Self::Smpp | Self::Smtp => false,
        }
    }

    /// How it words its callbacks, if it calls back.
    pub(crate) const fn callback(self) -> Option<Callback> {
        match self {
            Self::Carrier => Some(carrier::CALLBACK),
            Self::Rcshub => Some(rcshub::CALLBACK),
            Self::Rbm => Some(rbm::CALLBACK),
            Self::Solapi => Some(solapi::CALLBACK),
            Self::Nhn => Some(nhn::CALLBACK),
            Self::Kakao | Self::Talk | Self::Navertalk => None,
            Self::Smpp | Self::Smtp => None,
        }
    }

    /// What speaks for the vendor on its connections.
    pub(crate) fn service(self, vendor: Arc<Vendor>) -> Service {
        match self {
            Self::Carrier => Service::Http(carrier::router(vendor)),
            Self::Rcshub => Service::Http(rcshub::router(vendor)),
            Self::Kakao => Service::Http(kakao::router(vendor)),
            Self::Talk => Service::Http(talk::router(vendor)),
            Self::Navertalk => Service::Http(navertalk::router(vendor)),
            Self::Rbm => Service::Http(rbm::router(vendor)),
            Self::Solapi => Service::Http(solapi::router(vendor)),
            Self::Nhn => Service::Http(nhn::router(vendor)),
            Self::Smpp => Service::Smpp(vendor),
            Self::Smtp => Service::Smtp(vendor),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
