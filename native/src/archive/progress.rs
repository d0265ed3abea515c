//! How far it is, where somebody looks.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use trilith::restore::Progress;

/// A bar of bytes, with the keys and commands so far.
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar for something whose length is told with its progress.
    pub fn new(doing: &str) -> Self {
        let template =
            "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}{prefix}, {eta} left";
        Self::styled(doing, template)
    }

    /// One for something of which nobody knows how long it will be.
    pub fn unbounded(doing: &str) -> Self {
        Self::styled(doing, "{msg} {spinner} {bytes}, {bytes_per_sec}{prefix}")
    }

    /// One of ranges.
    pub fn of_ranges(doing: &str) -> Self {
        Self::styled(
            doing,
            "{msg} {wide_bar} {pos} of {len} ranges{prefix}, {eta} left",
        )
    }

    fn styled(doing: &str, template: &str) -> Self {
        let bar = ProgressBar::new(0);
        bar.set_draw_target(ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(doing.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar }
    }

    /// Shows how far it is.
    pub fn show(&self, progress: Progress) {
        self.bar.set_length(progress.of_bytes);
        self.bar.set_position(progress.bytes);
        if progress.items > 0 {
            self.bar
                .set_prefix(format!(", {} keys and commands", progress.items));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
