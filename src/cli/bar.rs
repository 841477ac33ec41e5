//! A bar on a terminal: full only when something is done, and absent where nobody knows how much there is.

use std::{borrow::Cow, io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

/// With a known total, and before it is known.
const COUNTED: &str = "{spinner} {msg:14} [{wide_bar}] {pos}/{len}  {elapsed}";
const WAITING: &str = "{spinner} {msg:14} {elapsed}";

/// Draws on stderr; nothing where that is no terminal.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar, where there is a terminal to draw it on.
    pub fn open() -> Option<Self> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let bar = Self {
            bar: ProgressBar::new(0),
        };
        bar.uncounted();
        bar.bar.enable_steady_tick(Duration::from_millis(120));
        Some(bar)
    }

    /// What is being done.
    pub fn say(&self, what: impl Into<Cow<'static, str>>) {
        self.bar.set_message(what);
    }

    /// How far it is; without a total no bar is drawn, for none would be right.
    pub fn count(&self, done: u64, total: u64) {
        if total == 0 {
            return self.uncounted();
        }
        self.style(COUNTED);
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    /// Nobody knows how far it is.
    pub fn uncounted(&self) {
        self.style(WAITING);
    }

    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("━╸ "));
        }
    }
}
