//! Randomness fit for keys.

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// 32 random bytes as 43 characters of base64url: a text nobody guesses.
pub fn random_token() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

/// `N` random bytes.
pub(super) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    fill(&mut bytes);
    bytes
}

/// Fills `bytes` with randomness.
#[expect(
    clippy::expect_used,
    reason = "no secret may ever be made without randomness, and there is nothing to fall back to"
)]
pub(super) fn fill(bytes: &mut [u8]) {
    rand::fill(bytes).expect("AWS-LC ends the process itself rather than give no randomness");
}
