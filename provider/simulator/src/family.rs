//! The four simulated vendor families.

use std::fmt;

use serde::{Deserialize, Serialize};

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
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 4] = [Self::Carrier, Self::Rcshub, Self::Kakao, Self::Talk];

    /// Its name, which is also the name of its protocol.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Carrier => "carrier",
            Self::Rcshub => "rcshub",
            Self::Kakao => "kakao",
            Self::Talk => "talk",
        }
    }

    /// The family with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// The most messages in one call.
    pub const fn batch(self) -> usize {
        match self {
            Self::Carrier | Self::Kakao => 100,
            Self::Rcshub => 20,
            Self::Talk => 1,
        }
    }

    /// How the vendor writes its id `number` in answers.
    pub fn vendor_id(self, number: u64) -> String {
        match self {
            Self::Carrier => format!("{number:016X}"),
            Self::Rcshub => format!("RCS-{number:016X}"),
            Self::Kakao => format!("KKO{number:020}"),
            Self::Talk => number.to_string(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
