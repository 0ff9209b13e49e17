//! Who is calling: access tokens, logins, refresh tokens.

mod caller;
mod login;
pub(crate) mod oauth;
pub(crate) mod token;

pub(crate) use caller::Caller;
pub(crate) use login::Login;
