//! How far a measurement is, on the standard error: a bar for who watches, lines for a log.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is being done.
pub struct Progress {
    bar: ProgressBar,
    watched: bool,
}

impl Progress {
    /// A measurement of so many steps.
    pub fn new(steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64);
        bar.set_draw_target(ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{elapsed} {wide_bar} {pos} of {len} {msg}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        let watched = stderr().is_terminal();
        Self { bar, watched }
    }

    /// What comes next.
    pub fn say(&self, text: impl Into<String>) {
        let text = text.into();
        if !self.watched {
            eprintln!("{:7.1} s  {text}", self.bar.elapsed().as_secs_f64());
        }
        self.bar.set_message(text);
    }

    /// A step is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
