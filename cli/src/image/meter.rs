//! How far something is, for people: bars on a terminal, a line for each finished layer elsewhere.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal;

/// Layers that are shown; no image has more.
const LAYERS: u32 = 128;
const BAR: &str = "{prefix} {bar:30} {binary_bytes}/{binary_total_bytes}";

/// Shows one kind of work.
#[derive(Debug)]
pub(super) struct Meter {
    verb: &'static str,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Bars {
        all: MultiProgress,
        bars: BTreeMap<u32, ProgressBar>,
    },
    /// The last layer that was told of.
    Lines {
        told: u32,
    },
}

impl Meter {
    /// On standard error.
    pub(super) fn new(verb: &'static str) -> Self {
        let bars = || Form::Bars {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            bars: BTreeMap::new(),
        };
        let form = if std::io::stderr().is_terminal() { bars() } else { Form::Lines { told: 0 } };
        Self { verb, form }
    }

    /// A layer has so many of its bytes.
    pub(super) fn layer(&mut self, number: u32, of: u32, done: u64, total: u64) {
        if number > LAYERS {
            return;
        }
        let label = format!("{} {number}/{of}", self.verb);
        match &mut self.form {
            Form::Bars { all, bars } => {
                let bar = bars.entry(number).or_insert_with(|| {
                    let style =
                        ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
                    all.add(ProgressBar::new(total).with_style(style).with_prefix(label))
                });
                bar.set_position(done);
                if done >= total {
                    bar.finish();
                }
            }
            Form::Lines { told } if done >= total && number > *told => {
                *told = number;
                eprintln!("{label}: {total} bytes");
            }
            Form::Lines { .. } => {}
        }
    }

    /// Something else is done now.
    pub(super) fn say(&self, text: &str) {
        match &self.form {
            // A terminal that is gone is no reason to stop.
            Form::Bars { all, .. } => drop(all.println(text)),
            Form::Lines { .. } => eprintln!("{text}"),
        }
    }
}
