//! Registered templates: how their variables are filled in, and whether a message says what its
//! template says.
//!
//! A variable is `#{name}` (Kakao Alimtalk). Its value is put in as it is: what looks like a variable
//! in a value is text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::id::PartnerId;
use super::message::Button;

/// Whether messages may use a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TemplateState {
    /// Yes: the channel approved it.
    Approved,
    /// No: its messages are refused.
    Suspended,
}

impl TemplateState {
    /// Every state.
    pub const ALL: [Self; 2] = [Self::Approved, Self::Suspended];

    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approved => "APPROVED",
            Self::Suspended => "SUSPENDED",
        }
    }

    /// The state with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// By which a partner's template is known: the Kakao sender profile, and the template's code there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateKey {
    /// The key of the sender profile.
    pub sender_key: String,
    /// The template's code.
    pub code: String,
}

impl fmt::Debug for TemplateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TemplateKey({})", self.code)
    }
}

/// A template as the channel approved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredTemplate {
    /// Whose it is.
    pub partner: PartnerId,
    /// By which it is known.
    pub key: TemplateKey,
    /// What it says.
    pub form: TemplateForm,
    /// Whether messages may use it.
    pub state: TemplateState,
}

/// What a template says: text and buttons, with variables.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TemplateForm {
    /// The text, newlines as LF.
    pub text: String,
    /// The buttons; variables may stand in their addresses alone.
    pub buttons: Vec<Button>,
}

impl fmt::Debug for TemplateForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TemplateForm")
    }
}

/// What a template says with its variables filled in.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// The buttons.
    pub buttons: Vec<Button>,
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rendered")
    }
}

/// Why a template cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenderError {
    /// These variables of the template have no value.
    Missing(Vec<String>),
    /// These places among the given variables, in the order of their names, name none of the template.
    Unknown(Vec<usize>),
}

impl TemplateForm {
    /// The names of its variables.
    pub fn variables(&self) -> BTreeSet<&str> {
        let urls = self.buttons.iter().filter_map(|b| b.url.as_deref());
        let texts = std::iter::once(self.text.as_str()).chain(urls);
        texts
            .flat_map(pieces)
            .filter_map(|piece| match piece {
                Piece::Variable(name) => Some(name),
                Piece::Text(_) => None,
            })
            .collect()
    }

    /// Fills in every variable.
    ///
    /// # Errors
    /// [`RenderError`] unless exactly its variables are given.
    pub fn render(&self, values: &BTreeMap<String, String>) -> Result<Rendered, RenderError> {
        let names = self.variables();
        let missing = names.iter().filter(|name| !values.contains_key(**name));
        let missing: Vec<_> = missing.map(|&name| name.to_owned()).collect();
        if !missing.is_empty() {
            return Err(RenderError::Missing(missing));
        }
        let given = values.keys().enumerate();
        let unknown = given.filter(|(_, name)| !names.contains(name.as_str()));
        let unknown: Vec<_> = unknown.map(|(place, _)| place).collect();
        if !unknown.is_empty() {
            return Err(RenderError::Unknown(unknown));
        }
        let buttons = self.buttons.iter().map(|button| Button {
            url: button.url.as_deref().map(|url| fill(url, values)),
            ..button.clone()
        });
        Ok(Rendered {
            text: fill(&self.text, values),
            buttons: buttons.collect(),
        })
    }
}

/// Where `given` and `expected` first differ, counted in characters from 0; `None` if they are equal.
pub fn first_difference(given: &str, expected: &str) -> Option<usize> {
    let (mut given, mut expected) = (given.chars(), expected.chars());
    let mut place = 0;
    loop {
        match (given.next(), expected.next()) {
            (None, None) => return None,
            (one, other) if one == other => place += 1,
            _ => return Some(place),
        }
    }
}

enum Piece<'t> {
    Text(&'t str),
    Variable(&'t str),
}

const OPENS: &str = "#{";

/// Cuts a text into what stands as it is and its variables. `#{` without a name and an end on the same
/// line is text.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((name, after)) = variable_at(rest) {
            rest = after;
            return Some(Piece::Variable(name));
        }
        // Not a variable here, so one can only begin at a later opening.
        let begins = rest
            .match_indices(OPENS)
            .map(|(place, _)| place)
            .find(|&place| variable_at(&rest[place..]).is_some());
        let (piece, after) = rest.split_at(begins.unwrap_or(rest.len()));
        rest = after;
        Some(Piece::Text(piece))
    })
}

/// The name of the variable with which this text begins, and what follows it.
fn variable_at(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix(OPENS)?.split_once('}')?;
    let is_name = !name.is_empty() && !name.contains(|c: char| c == '{' || c.is_control());
    is_name.then_some((name, after))
}

fn fill(text: &str, values: &BTreeMap<String, String>) -> String {
    let piece = |piece| match piece {
        Piece::Text(text) => text,
        Piece::Variable(name) => values.get(name).map_or("", String::as_str),
    };
    pieces(text).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(text: &str) -> TemplateForm {
        TemplateForm {
            text: text.to_owned(),
            buttons: Vec::new(),
        }
    }

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        pairs.iter().map(owned).collect()
    }

    fn text(template: &str, pairs: &[(&str, &str)]) -> String {
        form(template).render(&values(pairs)).unwrap().text
    }

    #[test]
    fn every_variable_is_filled_in_wherever_it_stands() {
        assert_eq!(
            text(
                "#{이름}님, #{n}번째 #{이름}!",
                &[("이름", "홍길동"), ("n", "2")]
            ),
            "홍길동님, 2번째 홍길동!"
        );
        assert_eq!(text("#{a}#{b}", &[("a", "1"), ("b", "")]), "1");
        assert_eq!(text("없음", &[]), "없음");
    }

    #[test]
    fn variables_in_the_addresses_of_buttons_are_filled_in_too() {
        let button = |url: &str| Button {
            kind: "WL".to_owned(),
            name: "배송 조회".to_owned(),
            url: Some(url.to_owned()),
        };
        let form = TemplateForm {
            text: "#{name}님".to_owned(),
            buttons: vec![button("https://a.example/#{no}")],
        };
        let rendered = form
            .render(&values(&[("name", "홍"), ("no", "7")]))
            .unwrap();
        assert!(rendered.buttons == [button("https://a.example/7")]);
    }

    #[test]
    fn what_is_no_variable_stays_as_it_is() {
        for plain in ["#{}", "#{a", "#", "{a}", "#a}", "# {a}", "#{a\n}", "#{"] {
            assert!(form(plain).variables().is_empty(), "{plain}");
            assert_eq!(text(plain, &[]), plain);
        }
        assert_eq!(text("#{#{a}", &[("a", "1")]), "#{1");
    }

    #[test]
    fn missing_variables_are_named_and_unknown_ones_are_placed() {
        let form = form("#{a} #{b} #{c}");
        assert_eq!(
            form.render(&values(&[("b", "1"), ("z", "2")])),
            Err(RenderError::Missing(vec!["a".to_owned(), "c".to_owned()]))
        );
        let given = values(&[("a", "1"), ("aa", "2"), ("b", "3"), ("c", "4"), ("z", "5")]);
        assert_eq!(form.render(&given), Err(RenderError::Unknown(vec![1, 4])));
    }

    #[test]
    fn the_first_difference_is_counted_in_characters() {
        assert_eq!(first_difference("같다", "같다"), None);
        assert_eq!(first_difference("가나다", "가나라"), Some(2));
        assert_eq!(first_difference("가나", "가나다"), Some(2));
        assert_eq!(first_difference("가나다", ""), Some(0));
    }

    proptest! {
        #[test]
        fn a_value_is_put_in_as_it_is_whatever_it_holds(value in "\\PC*") {
            let said = text("앞#{v}뒤", &[("v", &value)]);
            prop_assert_eq!(said, format!("앞{value}뒤"));
        }

        #[test]
        fn a_text_rendered_with_each_variable_as_itself_is_the_template(
            template in "[#{}a-c\n가]{0,40}",
        ) {
            let form = form(&template);
            let names = form.variables();
            let itself = names.iter().map(|name| (name.to_string(), format!("#{{{name}}}")));
            let rendered = form.render(&itself.collect()).unwrap();
            prop_assert_eq!(rendered.text, template);
        }

        #[test]
        fn two_texts_are_equal_up_to_their_first_difference_and_not_there(
            one in "[ab가]{0,12}",
            other in "[ab가]{0,12}",
        ) {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let (a, b) = (chars(&one), chars(&other));
            match first_difference(&one, &other) {
                None => prop_assert_eq!(one, other),
                Some(place) => {
                    prop_assert_eq!(&a[..place], &b[..place]);
                    prop_assert_ne!(a.get(place), b.get(place));
                }
            }
        }
    }
}
