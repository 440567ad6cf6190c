//! Commands on the network: `dhcp ifopen ifstat route nslookup params param autoboot` and the like.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use smoltcp::time::Duration;

use super::errno::{Errno, Failure};
use super::options::{Arguments, MANY, Spec};
use super::{Interpreter, Step};
use crate::fetch::Method;

/// How long `dhcp` waits when the script does not say.
const DHCP_PATIENCE: Duration = Duration::from_secs(60);
/// Parameter lists, and parameters in one.
const MAX_LISTS: usize = 16;
const MAX_PARAMETERS: usize = 256;

/// What is sent with a request whose URI ends in `##params`.
#[derive(Debug, Clone, Default)]
pub(super) struct Parameters {
    name: Option<String>,
    /// None: POST when there is a form, else GET.
    pub(super) method: Option<Method>,
    pub(super) entries: Vec<Parameter>,
}

/// A field of a form, or of the request's head.
#[derive(Debug, Clone)]
pub(super) struct Parameter {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) header: bool,
}

impl Interpreter<'_, '_> {
    pub(super) fn params(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [("name", 'n', true), ("method", 'm', true), ("delete", 'd', false)];
        let arguments = Arguments::parse(words, &specs, 0..=0)?;
        let method = match arguments.value('m') {
            None => None,
            Some("GET") => Some(Method::Get),
            Some("HEAD") => Some(Method::Head),
            Some("POST") => Some(Method::Post),
            Some("PUT") => Some(Method::Put),
            Some(other) => {
                return Err(Failure::new(
                    Errno::UNSUPPORTED,
                    format!("there is no method \"{other}\", only GET, HEAD, POST and PUT"),
                ));
            }
        };
        // One of that name is replaced.
        self.claim_parameters(arguments.value('n'));
        if arguments.has('d') {
            return Ok(Step::Done);
        }
        if self.parameters.len() >= MAX_LISTS {
            return Err(Failure::new(
                Errno::NO_MEMORY,
                format!("more than {MAX_LISTS} lists of parameters"),
            ));
        }
        self.parameters.push(Parameters {
            name: arguments.value('n').map(Into::into),
            method,
            entries: Vec::new(),
        });
        Ok(Step::Done)
    }

    pub(super) fn param(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [("params", 'p', true), ("header", 'H', false)];
        let arguments = Arguments::parse(words, &specs, 1..=MANY)?;
        let name = arguments.value('p');
        let mut lists = self.parameters.iter_mut();
        let list = lists.find(|list| list.name.as_deref() == name).ok_or_else(|| {
            let name = name.unwrap_or("default");
            Failure::new(
                Errno::NO_LIST,
                format!("there is no \"{name}\" list of parameters"),
            )
        })?;
        if list.entries.len() >= MAX_PARAMETERS {
            return Err(Failure::new(
                Errno::NO_MEMORY,
                format!("more than {MAX_PARAMETERS} parameters"),
            ));
        }
        list.entries.push(Parameter {
            key: arguments.get(0).into(),
            value: arguments.text(1),
            header: arguments.has('H'),
        });
        Ok(Step::Done)
    }

    /// Takes the list of that name: it is used once.
    pub(super) fn claim_parameters(&mut self, name: Option<&str>) -> Option<Parameters> {
        let at = self
            .parameters
            .iter()
            .position(|list| list.name.as_deref() == name)?;
        Some(self.parameters.remove(at))
    }

    /// Checks the interfaces that a command names: there is one.
    fn interfaces(arguments: &Arguments<'_>) -> Result<(), Failure> {
        match arguments
            .rest
            .iter()
            .find(|name| !matches!(&***name, "net0" | "netX"))
        {
            None => Ok(()),
            Some(name) => Err(Failure::new(
                Errno::NO_INTERFACE,
                format!("there is no network interface \"{name}\""),
            )),
        }
    }

    pub(super) fn ifconf(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [("configurator", 'c', true), ("timeout", 't', true)];
        let arguments = Arguments::parse(words, &specs, 0..=MANY)?;
        match arguments.value('c') {
            None | Some("dhcp") => {}
            Some("ipv6") => {
                return Err(Failure::new(Errno::NO_CONFIGURATOR, "IPv6 is not supported"));
            }
            Some(other) => {
                return Err(Failure::new(
                    Errno::NO_CONFIGURATOR,
                    format!("there is no configurator \"{other}\""),
                ));
            }
        }
        Self::interfaces(&arguments)?;
        let patience = arguments.timeout('t')?.unwrap_or(DHCP_PATIENCE);
        let granted = self.world.dhcp(patience);
        self.progress();
        match self.world.lease().filter(|_| granted) {
            Some(lease) => {
                self.settings.set_lease(lease);
                Ok(Step::Done)
            }
            None => Err(Failure::new(
                Errno::TIMEOUT,
                format!("no lease within {} s", patience.total_millis().div_ceil(1000)),
            )),
        }
    }

    pub(super) fn ifopen(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[], 0..=MANY)?;
        Self::interfaces(&arguments)?;
        // An address that a script has set must not be ignored in silence.
        let leased = self.settings.text("net0.dhcp/ip");
        let set = self.settings.text("net0/ip");
        if set != leased {
            return Err(Failure::new(
                Errno::UNSUPPORTED,
                format!("static addresses are not supported yet: {set} is not used"),
            ));
        }
        Ok(Step::Done)
    }

    pub(super) fn ifclose(&mut self, words: &[String]) -> Result<Step, Failure> {
        // The lease is kept: there is no other interface, and the next command will want it.
        Self::interfaces(&Arguments::parse(words, &[], 0..=MANY)?)?;
        Ok(Step::Done)
    }

    pub(super) fn iflinkwait(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[("timeout", 't', true)], 0..=MANY)?;
        Self::interfaces(&arguments)?;
        let end = self.world.now() + arguments.timeout('t')?.unwrap_or(DHCP_PATIENCE);
        // A link without a lease is not told from none: what scripts wait for is both.
        while self.world.lease().is_none() {
            let now = self.world.now();
            if now >= end {
                return Err(Failure::new(Errno::TIMEOUT, "no lease, perhaps no link"));
            }
            let _ = self.world.key((now + Duration::from_millis(100)).min(end));
        }
        Ok(Step::Done)
    }

    pub(super) fn ifstat(&mut self, words: &[String]) -> Result<Step, Failure> {
        Self::interfaces(&Arguments::parse(words, &[], 0..=MANY)?)?;
        let mac = self.settings.text("net0/mac");
        let state = match self.world.lease() {
            Some(lease) => format!("open, {}", lease.address),
            None => "open, no lease".to_string(),
        };
        self.print(&format!("net0: {mac} ({state})\n"));
        Ok(Step::Done)
    }

    pub(super) fn route(&mut self, words: &[String]) -> Result<Step, Failure> {
        Arguments::parse(words, &[], 0..=0)?;
        let text = match self.world.lease() {
            Some(lease) => {
                let router = lease
                    .router
                    .map(|router| format!(" gw {router}"))
                    .unwrap_or_default();
                format!(
                    "net0: {}/{}{router}\n",
                    lease.address.address(),
                    lease.address.netmask()
                )
            }
            None => "net0: no lease\n".to_string(),
        };
        self.print(&text);
        Ok(Step::Done)
    }

    pub(super) fn nslookup(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[], 2..=2)?;
        let name = self.settings.name_to_store(arguments.get(0))?;
        let result = self.world.resolve(arguments.get(1));
        self.progress();
        match result {
            Ok(address) => {
                let kind = super::value::Type::Ipv4;
                self.settings.store(&name, kind, address.octets().to_vec())?;
                Ok(Step::Done)
            }
            Err(error) => Err(Failure::new(Errno::of_resolve(&error), error.to_string())),
        }
    }

    pub(super) fn ping(&mut self, words: &[String]) -> Result<Step, Failure> {
        const SPECS: [Spec; 4] = [
            ("size", 's', true),
            ("timeout", 't', true),
            ("count", 'c', true),
            ("quiet", 'q', false),
        ];
        Arguments::parse(words, &SPECS, 1..=1)?;
        Err(Failure::new(
            Errno::UNSUPPORTED,
            "ICMP is not supported yet: nothing was sent",
        ))
    }

    pub(super) fn ntp(&mut self, words: &[String]) -> Result<Step, Failure> {
        Arguments::parse(words, &[], 1..=1)?;
        Err(Failure::new(
            Errno::UNSUPPORTED,
            "NTP is not supported yet: the time was not set",
        ))
    }

    pub(super) fn no_vlan(&mut self, _: &[String]) -> Result<Step, Failure> {
        Err(Failure::new(Errno::UNSUPPORTED, "VLANs are not supported"))
    }

    pub(super) fn autoboot(&mut self, words: &[String]) -> Result<Step, Failure> {
        Self::interfaces(&Arguments::parse(words, &[], 0..=MANY)?)?;
        let dhcp = [String::from("dhcp")];
        self.ifconf(&dhcp)?;
        let file = self.settings.text("filename");
        let file = super::line::expand(&file, &mut |name| self.settings.text(name))?;
        if file.is_empty() {
            return Err(Failure::new(Errno::NO_SETTING, "DHCP names no boot file"));
        }
        let id = self.download(&file, None, true, 0)?;
        Ok(Step::Execute(id))
    }
}
