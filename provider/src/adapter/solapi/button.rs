//! Buttons: each channel has its own words for the same things.

use pabal_common::domain::message::Button;
use serde::Serialize;

use super::codes;

/// A button of Alimtalk and of Naver.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LinkButton<'a> {
    button_name: &'a str,
    button_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_mo: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_and: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_ios: Option<&'a str>,
}

/// A button of a Brand Message.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BmsButton<'a> {
    name: &'a str,
    link_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_mobile: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_android: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_ios: Option<&'a str>,
}

/// A button of RCS.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RcsButton<'a> {
    button_name: &'a str,
    button_type: &'a str,
    link: &'a str,
}

/// Those of Alimtalk.
pub(super) const ALIMTALK: &[&str] = &["WL", "AL", "BK", "MD", "DS", "BC", "BT", "AC"];
/// Those of Naver.
pub(super) const NAVER: &[&str] = &["WL", "AL"];
const BRAND: &[&str] = &["WL", "AL", "BK", "MD", "BC", "BT", "AC", "BF"];

/// The code of a button the vendor has. One address is all we have: an app's counts for both systems.
fn known<'a>(button: &'a Button, known: &[&str]) -> Result<&'a str, &'static str> {
    let code = button.kind.as_str();
    let leads = !matches!(code, "WL" | "AL") || button.url.is_some();
    (known.contains(&code) && leads)
        .then_some(code)
        .ok_or(codes::NO_BUTTON)
}

/// Those of Alimtalk or Naver, of the kinds that there are.
pub(super) fn link_buttons<'a>(
    buttons: &'a [Button],
    there_are: &[&str],
) -> Result<Vec<LinkButton<'a>>, &'static str> {
    let written = buttons.iter().map(|button| {
        let button_type = known(button, there_are)?;
        let url = |of: &str| button.url.as_deref().filter(|_| button_type == of);
        Ok(LinkButton {
            button_name: &button.name,
            button_type,
            link_mo: url("WL"),
            link_and: url("AL"),
            link_ios: url("AL"),
        })
    });
    written.collect()
}

/// Those of a Brand Message.
pub(super) fn bms_buttons(buttons: &[Button]) -> Result<Vec<BmsButton<'_>>, &'static str> {
    let written = buttons.iter().map(|button| {
        let link_type = known(button, BRAND)?;
        let url = |of: &str| button.url.as_deref().filter(|_| link_type == of);
        Ok(BmsButton {
            name: &button.name,
            link_type,
            link_mobile: url("WL"),
            link_android: url("AL"),
            link_ios: url("AL"),
        })
    });
    written.collect()
}

/// Those of RCS: web links alone, for how the number of a call button is written is not documented.
pub(super) fn rcs_buttons(buttons: &[Button]) -> Result<Vec<RcsButton<'_>>, &'static str> {
    let written = buttons.iter().map(|button| {
        let link = button.url.as_deref();
        Ok(RcsButton {
            button_name: &button.name,
            button_type: known(button, &["WL"])?,
            link: link.ok_or(codes::NO_BUTTON)?,
        })
    });
    written.collect()
}
