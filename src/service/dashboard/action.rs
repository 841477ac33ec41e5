//! A button that changes something: a form of its own, which posts.

use askama::filters::HtmlSafe;

use super::visit::Visitor;

#[derive(askama::Template)]
#[template(path = "action.html", config = "src/service/dashboard/askama.toml")]
pub struct Action {
    token: String,
    /// The path that it posts to.
    to: String,
    label: &'static str,
    /// What it is about, for who hears the page instead of seeing it.
    about: String,
    /// What is asked before it is done; nothing for what can be taken back.
    question: Option<String>,
    fields: Vec<Field>,
    style: &'static str,
    /// Tells it from others that post to the same path.
    key: String,
}

/// What is sent along.
struct Field {
    name: &'static str,
    value: String,
}

/// Its template escapes what it is given.
impl HtmlSafe for Action {}

impl Action {
    pub fn new(visitor: &Visitor, label: &'static str, to: String) -> Self {
        let (about, key) = (String::new(), String::new());
        let token = visitor.token.clone();
        Self {
            token,
            to,
            label,
            about,
            question: None,
            fields: Vec::new(),
            style: "",
            key,
        }
    }

    /// Says what it is about, where many stand below each other.
    pub fn about(self, about: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            ..self
        }
    }

    /// Tells it from others that post to the same path.
    pub fn keyed(self, key: &str) -> Self {
        Self {
            key: format!("-{key}"),
            ..self
        }
    }

    /// Asks first.
    pub fn asking(self, question: impl Into<String>) -> Self {
        Self {
            question: Some(question.into()),
            ..self
        }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push(Field {
            name,
            value: value.into(),
        });
        self
    }

    /// The one that is expected.
    pub fn primary(self) -> Self {
        Self {
            style: " primary",
            ..self
        }
    }

    /// One that loses something.
    pub fn danger(self) -> Self {
        Self {
            style: " danger",
            ..self
        }
    }

    /// For `live.js`, which keeps what is open open.
    fn id(&self) -> String {
        format!(
            "ask{}",
            self.to
                .chars()
                .chain(self.key.chars())
                .map(plain)
                .collect::<String>()
        )
    }
}

/// What can stand in an element's id.
fn plain(c: char) -> char {
    if c.is_ascii_alphanumeric() { c } else { '-' }
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::*;
    use crate::service::domain::access::Principal;

    #[test]
    fn a_question_is_asked_without_scripts_and_everything_is_escaped() {
        let visitor = Visitor {
            principal: Principal::OPEN,
            token: "t0".into(),
        };
        let plain = Action::new(&visitor, "Retry", "/transfers/1/retry".into())
            .render()
            .unwrap();
        assert!(plain.contains("method=\"post\" action=\"/transfers/1/retry\""));
        assert!(plain.contains("value=\"t0\"") && !plain.contains("<details"));
        let asked = Action::new(&visitor, "Revoke", "/keys/<x>".into())
            .asking("<b>?")
            .with("a", "\"");
        let asked = asked.render().unwrap();
        assert!(
            asked.contains("<details") && asked.contains("id=\"ask-keys--x-\""),
            "{asked}"
        );
        assert!(
            !asked.contains("<b>") && !asked.contains("<x>") && !asked.contains("value=\"\"\"")
        );
    }
}
