//! The figures of `bench net`, its one table, and the bars that they must meet.

use anyhow::{Result, ensure};

use super::trial::verdict;

/// GENET: at most so many instructions for each byte.
const MOST: f64 = 8.0;

/// Linux's throughput is to be exceeded so many times.
const FASTER: f64 = 2.0;

/// What one program showed on one NIC.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    /// Instructions for each byte.
    pub(super) per_byte: f64,
    /// Bytes a second.
    pub(super) rate: f64,
    /// Instructions a second, all cores together, while a download hangs.
    pub(super) waiting: Option<f64>,
    /// What of it had to be.
    pub(super) parts: Option<Parts>,
}

/// Instructions for each byte, in parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Parts {
    /// To copy it.
    pub(super) copies: f64,
    /// To sum it up.
    pub(super) checksums: f64,
}

/// A program's figures on one NIC; `None` when the program was left out.
pub(super) type Measured = Option<Result<Figures>>;

/// One NIC.
pub(super) struct Port {
    /// The NIC's and the board's name.
    pub(super) name: String,
    pub(super) demands: Demands,
    pub(super) bramble: Result<Figures>,
    pub(super) linux: Measured,
    /// By the command that downloads.
    pub(super) u_boot: Vec<(&'static str, Measured)>,
}

/// How few instructions Bramble may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demands {
    /// At most [`MOST`], half of Linux's, and a third of U-Boot's with `tftpboot`.
    Genet,
    /// At most Linux's.
    Usb,
}

/// The slope between two downloads, which is free of what a boot takes.
pub(super) fn slope(small: (f64, f64), large: (f64, f64)) -> Result<f64> {
    let (bytes, figure) = (large.0 - small.0, large.1 - small.1);
    ensure!(
        bytes > 0.0 && figure > 0.0,
        "bench: {figure:.0} more for {bytes:.0} more: the two runs were too different"
    );
    Ok(figure / bytes)
}

/// Prints everything; whether no bar was missed.
pub(super) fn print(ports: &[Port]) -> bool {
    println!();
    println!(
        "{:<16} {:<18} {:>12} {:>8} {:>9} {:>11} {:>8} {:>10}",
        "NIC", "downloader", "instr./byte", "copies", "checksum", "above these", "MB/s", "idle, M/s"
    );
    for port in ports {
        let mut name = port.name.as_str();
        let rows = [
            ("Bramble", Some(&port.bramble)),
            ("Linux wget", port.linux.as_ref()),
        ];
        let u_boot = port.u_boot.iter();
        let u_boot = u_boot.map(|(command, figures)| (*command, figures.as_ref()));
        for (downloader, figures) in rows.into_iter().chain(u_boot) {
            println!("{}", row(name, downloader, figures));
            name = "";
        }
    }
    println!();
    let mut met = true;
    for port in ports {
        for bar in bars(port) {
            println!("{}: {}", port.name, bar.line());
            met &= bar.met() != Some(false);
        }
    }
    met
}

fn row(name: &str, downloader: &str, figures: Option<&Result<Figures>>) -> String {
    let figures = match figures {
        None => return format!("{name:<16} {downloader:<18} left out"),
        Some(Ok(figures)) => figures,
        Some(Err(reason)) => return format!("{name:<16} {downloader:<18} not measured: {reason:#}"),
    };
    let number = |figure: Option<f64>| figure.map_or(String::new(), |figure| format!("{figure:.2}"));
    let parts = figures.parts;
    let row = format!(
        "{name:<16} {downloader:<18} {:>12.2} {:>8} {:>9} {:>11} {:>8.2} {:>10}",
        figures.per_byte,
        number(parts.map(|parts| parts.copies)),
        number(parts.map(|parts| parts.checksums)),
        number(parts.map(|parts| figures.per_byte - parts.copies - parts.checksums)),
        figures.rate / 1e6,
        number(figures.waiting.map(|waiting| waiting / 1e6)),
    );
    row.trim_end().to_owned()
}

/// One thing that must hold.
struct Bar {
    text: String,
    compared: Compared,
    at_least: bool,
}

/// A bar's two sides.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Compared {
    Measured {
        figure: f64,
        bound: f64,
    },
    /// One of them is missing.
    Unmeasured,
    /// Nobody wanted to know the bound.
    LeftOut,
}

impl Compared {
    /// Bramble's figure beside a bound that comes of another program's figures.
    fn new(bramble: Option<f64>, other: &Measured, bound: impl Fn(&Figures) -> f64) -> Self {
        match (bramble, other) {
            (Some(_), None) => Self::LeftOut,
            (Some(figure), Some(Ok(other))) => Self::Measured {
                figure,
                bound: bound(other),
            },
            (None, _) | (Some(_), Some(Err(_))) => Self::Unmeasured,
        }
    }
}

impl Bar {
    /// Whether it was met; `None` when the bound was left out.
    fn met(&self) -> Option<bool> {
        match self.compared {
            Compared::Measured { figure, bound } => Some(match self.at_least {
                true => figure >= bound,
                false => figure <= bound,
            }),
            Compared::Unmeasured => Some(false),
            Compared::LeftOut => None,
        }
    }

    fn line(&self) -> String {
        let figures = match self.compared {
            Compared::Measured { figure, bound } => format!("{figure:.2}, bar {bound:.2}: "),
            Compared::Unmeasured => "not measured: ".to_owned(),
            Compared::LeftOut => String::new(),
        };
        let end = self.met().map_or("left out", verdict);
        format!("{}: {figures}{end}", self.text)
    }
}

fn bars(port: &Port) -> Vec<Bar> {
    let bramble = port.bramble.as_ref().ok();
    let per_byte = bramble.map(|figures| figures.per_byte);
    let at_most = |text: &str, compared| Bar {
        text: format!("instructions for each byte, at most {text}"),
        compared,
        at_least: false,
    };
    let mut bars = match port.demands {
        Demands::Genet => {
            let most = per_byte.map_or(Compared::Unmeasured, |figure| Compared::Measured {
                figure,
                bound: MOST,
            });
            let linux = Compared::new(per_byte, &port.linux, |linux| linux.per_byte / 2.0);
            let mut bars = vec![at_most("8", most), at_most("half of Linux's", linux)];
            // The first of its commands is the one that it always has.
            if let Some((_, u_boot)) = port.u_boot.first() {
                let u_boot = Compared::new(per_byte, u_boot, |u_boot| u_boot.per_byte / 3.0);
                bars.push(at_most("a third of U-Boot's", u_boot));
            }
            bars
        }
        Demands::Usb => {
            let linux = Compared::new(per_byte, &port.linux, |linux| linux.per_byte);
            vec![at_most("Linux's", linux)]
        }
    };
    let rate = bramble.map(|figures| figures.rate / 1e6);
    bars.push(Bar {
        text: "MB/s, at least twice Linux's".to_owned(),
        compared: Compared::new(rate, &port.linux, |linux| linux.rate / 1e6 * FASTER),
        at_least: true,
    });
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(per_byte: f64, rate: f64) -> Result<Figures> {
        Ok(Figures {
            per_byte,
            rate,
            waiting: None,
            parts: None,
        })
    }

    fn met(
        demands: Demands,
        bramble: Result<Figures>,
        linux: Result<Figures>,
        u_boot: Result<Figures>,
    ) -> bool {
        print(&[Port {
            name: "NIC".to_owned(),
            demands,
            bramble,
            linux: Some(linux),
            u_boot: vec![("tftpboot", Some(u_boot))],
        }])
    }

    /// A NIC on which only Bramble was measured.
    fn alone(demands: Demands, bramble: Result<Figures>) -> Port {
        Port {
            name: "NIC".to_owned(),
            demands,
            bramble,
            linux: None,
            u_boot: vec![("tftpboot", None)],
        }
    }

    fn absent() -> Result<Figures> {
        Err(anyhow::anyhow!("absent"))
    }

    #[test]
    fn each_missed_bar_fails_genet() {
        let genet = |bramble, linux, u_boot| met(Demands::Genet, bramble, linux, u_boot);
        assert!(genet(figures(8.0, 2e6), figures(16.0, 1e6), figures(24.0, 1e6)));
        assert!(!genet(figures(8.1, 2e6), figures(99.0, 1e6), figures(99.0, 1e6)));
        assert!(!genet(figures(8.0, 2e6), figures(15.9, 1e6), figures(99.0, 1e6)));
        assert!(!genet(figures(8.0, 2e6), figures(16.0, 1e6), figures(23.9, 1e6)));
        assert!(!genet(
            figures(8.0, 1.9e6),
            figures(16.0, 1e6),
            figures(24.0, 1e6)
        ));
        assert!(!genet(absent(), figures(16.0, 1e6), figures(24.0, 1e6)));
        assert!(!genet(figures(8.0, 2e6), absent(), figures(24.0, 1e6)));
        assert!(!genet(figures(8.0, 2e6), figures(16.0, 1e6), absent()));
    }

    #[test]
    fn usb_nics_are_held_against_linux_alone() {
        let usb = |bramble, linux| met(Demands::Usb, bramble, linux, absent());
        assert!(usb(figures(40.0, 2e6), figures(40.0, 1e6)));
        assert!(!usb(figures(40.1, 2e6), figures(40.0, 1e6)));
        assert!(!usb(figures(40.0, 1.9e6), figures(40.0, 1e6)));
        assert!(!usb(figures(40.0, 2e6), absent()));
    }

    #[test]
    fn what_was_left_out_is_not_missed() {
        let good = alone(Demands::Genet, figures(8.0, 1e6));
        let lines: Vec<String> = bars(&good).iter().map(Bar::line).collect();
        assert_eq!(
            lines,
            [
                "instructions for each byte, at most 8: 8.00, bar 8.00: ok",
                "instructions for each byte, at most half of Linux's: left out",
                "instructions for each byte, at most a third of U-Boot's: left out",
                "MB/s, at least twice Linux's: left out",
            ]
        );
        assert!(row("NIC", "Linux wget", good.linux.as_ref()).ends_with(" left out"));
        assert!(print(&[good]));
        assert!(print(&[alone(Demands::Usb, figures(99.0, 1.0))]));
        // What was to be measured must hold.
        assert!(!print(&[alone(Demands::Genet, figures(8.1, 1e6))]));
        assert!(!print(&[alone(Demands::Genet, absent())]));
        assert!(!print(&[alone(Demands::Usb, absent())]));
        let missed = bars(&alone(Demands::Usb, absent()));
        assert_eq!(
            missed[0].line(),
            "instructions for each byte, at most Linux's: not measured: MISSED"
        );
    }

    #[test]
    fn what_is_above_the_limit_is_the_rest() {
        let figures = Figures {
            per_byte: 7.5,
            rate: 12.5e6,
            waiting: Some(14_500_000.0),
            parts: Some(Parts {
                copies: 1.25,
                checksums: 2.0,
            }),
        };
        let row = row("GENET (4b)", "Bramble", Some(&Ok(figures)));
        let columns: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(
            columns,
            [
                "GENET", "(4b)", "Bramble", "7.50", "1.25", "2.00", "4.25", "12.50", "14.50"
            ]
        );
    }

    #[test]
    fn a_slope_needs_a_difference() {
        assert_eq!(slope((16.0, 100.0), (64.0, 196.0)).unwrap(), 2.0);
        assert!(slope((16.0, 100.0), (16.0, 196.0)).is_err());
        assert!(slope((16.0, 100.0), (64.0, 99.0)).is_err());
    }
}
