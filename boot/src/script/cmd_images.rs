//! Commands on images: `imgfetch imgselect imgexec imgargs imgstat imgfree imgset imgextract md5sum …` and their synonyms.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use smoltcp::time::Duration;

use super::errno::{Errno, Failure};
use super::images::{Id, Stored};
use super::initrds::headers;
use super::machine::{Interpreter, Step};
use super::options::{Arguments, MANY, Spec};
use super::value::{Type, uri_encoded};
use crate::fetch::{Method, Request};
use crate::load::{fit, gzip, kernel, place};
use crate::patience;
use crate::url::{self, Url};
use crate::work::{self, Tick};

/// Options of all commands that name one image.
const SINGLE: [Spec; 5] = [
    ("name", 'n', true),
    ("timeout", 't', true),
    ("quiet", 'q', false),
    ("autofree", 'a', false),
    ("replace", 'r', false),
];
/// Downloads that may fail in a row before each costs a second more: a server that is down is not to be hammered.
const FREE_MISSES: u32 = 8;

/// What an image is called: the last part of its path, decoded.
pub(super) fn base_name(url: &Url) -> String {
    let name = url.path().rsplit('/').next().unwrap_or_default();
    let bytes = Type::UriString.parse(name).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Interpreter<'_, '_> {
    /// The options that a command of this family has.
    fn single<'a>(&self, words: &'a [String], replace: bool, least: usize) -> Result<Arguments<'a>, Failure> {
        let specs = SINGLE.split_last().filter(|_| !replace);
        Arguments::parse(words, specs.map_or(&SINGLE, |(_, others)| others), least..=MANY)
    }

    /// Gives an image the name, arguments and flag that its command line says.
    fn set_properties(&mut self, id: Id, arguments: &Arguments<'_>) -> Result<(), Failure> {
        if let Some(image) = self.images.get_mut(id) {
            if let Some(name) = arguments.value('n') {
                image.rename(name)?;
            }
            if let Some(words) = arguments.rest.get(1..).filter(|words| !words.is_empty()) {
                image.set_arguments(Some(words))?;
            }
            image.autofree |= arguments.has('a');
        }
        Ok(())
    }

    /// An image that is already there by that name, or else a download.
    fn acquire(&mut self, name: &str, patience: Option<Duration>, kernel: bool) -> Result<Id, Failure> {
        match self.images.find(name) {
            Some(id) => Ok(id),
            None => self.download(name, patience, kernel, 0),
        }
    }

    pub(super) fn imgfetch(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = self.single(words, false, 1)?;
        // Room for the headers that make a file in the initial ramdisk of it.
        let front = place::pages(headers(&arguments.text(1), 0)?.len());
        let id = self.download(arguments.get(0), arguments.timeout('t')?, false, front)?;
        // Under another name it would be another file.
        self.set_properties(id, &arguments)
            .inspect_err(|_| self.images.free(id))?;
        Ok(Step::Done)
    }

    pub(super) fn imgselect(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = self.single(words, false, 1)?;
        let id = self.acquire(arguments.get(0), arguments.timeout('t')?, true)?;
        self.set_properties(id, &arguments)?;
        if let Some(image) = self.images.get_mut(id) {
            image.program = true;
        }
        self.images
            .executable(id, self.board.device_tree, &mut |_| self.world.tick())?;
        self.images.selected = Some(id);
        Ok(Step::Done)
    }

    pub(super) fn imgexec(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = self.single(words, true, 0)?;
        let id = if arguments.rest.is_empty() {
            let selected = self.images.selected.and_then(|id| self.images.get(id));
            let selected = selected.filter(|image| image.listed);
            selected
                .map(|image| image.id())
                .ok_or_else(|| Failure::new(Errno::NO_IMAGE, "no image is selected"))?
        } else {
            self.acquire(arguments.get(0), arguments.timeout('t')?, true)?
        };
        self.set_properties(id, &arguments)?;
        if let Some(image) = self.images.get_mut(id) {
            image.program = true;
        }
        if !arguments.has('r') {
            return Ok(Step::Execute(id));
        }
        self.images
            .executable(id, self.board.device_tree, &mut |_| self.world.tick())?;
        let frame = self
            .frames
            .last_mut()
            .ok_or_else(|| Failure::new(Errno::NO_SCRIPT, "not in a script"))?;
        frame.replacement = Some(id);
        Ok(Step::Exit(Ok(())))
    }

    pub(super) fn imgargs(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = self.single(words, false, 1)?;
        let id = self.acquire(arguments.get(0), arguments.timeout('t')?, false)?;
        if let Some(image) = self.images.get_mut(id) {
            image.set_arguments(None)?;
        }
        self.set_properties(id, &arguments)?;
        Ok(Step::Done)
    }

    /// The images that a command names, or all.
    fn several(&self, words: &[String]) -> Result<Vec<Id>, Failure> {
        let arguments = Arguments::parse(words, &[], 0..=MANY)?;
        if arguments.rest.is_empty() {
            return Ok(self.listed().collect());
        }
        arguments.rest.iter().map(|name| self.by_name(name)).collect()
    }

    fn by_name(&self, name: &str) -> Result<Id, Failure> {
        self.images
            .find(name)
            .ok_or_else(|| Failure::new(Errno::NO_IMAGE, format!("no image is called \"{name}\"")))
    }

    fn listed(&self) -> impl Iterator<Item = Id> {
        self.images
            .iter()
            .filter(|image| image.listed)
            .map(|image| image.id())
    }

    pub(super) fn imgstat(&mut self, words: &[String]) -> Result<Step, Failure> {
        for id in self.several(words)? {
            let Some(image) = self.images.get(id) else {
                continue;
            };
            let mut line = format!("{} : {} bytes", image.name(), image.len());
            let bytes = self.images.bytes(id);
            let kind = match &image.content {
                Stored::Script(_) => " [script]",
                Stored::Data { .. } if gzip::is_gzip(bytes) => " [gzip]",
                Stored::Data { .. } if kernel::room(bytes).is_some() => " [Image]",
                Stored::Data { .. } => "",
            };
            line.push_str(kind);
            let marks = [
                (self.images.selected == Some(id), " [SELECTED]"),
                (self.images.device_tree == Some(id), " [FDT]"),
                (image.trusted, " [TRUSTED]"),
                (image.autofree, " [AUTOFREE]"),
            ];
            for (set, mark) in marks {
                line.push_str(if set { mark } else { "" });
            }
            if let Some(arguments) = image.arguments() {
                line.push_str(&format!(" \"{arguments}\""));
            }
            line.push('\n');
            self.print(&line);
        }
        Ok(Step::Done)
    }

    pub(super) fn imgfree(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[], 0..=MANY)?;
        if arguments.rest.is_empty() {
            let all: Vec<Id> = self.listed().collect();
            all.into_iter().for_each(|id| self.images.free(id));
        }
        // Each in turn: those before one that does not exist are gone.
        for name in arguments.rest {
            let id = self.by_name(name)?;
            self.images.free(id);
        }
        Ok(Step::Done)
    }

    pub(super) fn imgset(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [
            ("keep", 'k', false),
            ("timeout", 't', true),
            ("quiet", 'q', false),
        ];
        let arguments = Arguments::parse(words, &specs, 2..=2)?;
        let name = self.settings.name_to_store(arguments.get(0))?;
        let known = self.images.find(arguments.get(1)).is_some();
        let id = self.acquire(arguments.get(1), arguments.timeout('t')?, false)?;
        let kind = name.kind().unwrap_or(Type::String);
        let stored = self.settings.store(&name, kind, self.images.bytes(id));
        if !known && !arguments.has('k') {
            self.images.free(id);
        }
        stored.map(|()| Step::Done)
    }

    pub(super) fn imgextract(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [
            ("name", 'n', true),
            ("keep", 'k', false),
            ("timeout", 't', true),
            ("quiet", 'q', false),
        ];
        let arguments = Arguments::parse(words, &specs, 1..=1)?;
        let id = self.acquire(arguments.get(0), arguments.timeout('t')?, false)?;
        let stripped = self.images.get(id).map_or_else(String::new, |image| {
            let (stem, _) = image.name().rsplit_once('.').unwrap_or((image.name(), ""));
            stem.into()
        });
        let name = arguments.value('n').map_or(stripped, Into::into);
        let extracted = self.images.extract(id, name, &mut |_| self.world.tick());
        // Whether it could be unpacked or not: who goes on with `initrd` of the same file has one, not two.
        if !arguments.has('k') {
            self.images.free(id);
        }
        extracted.map(|_| Step::Done)
    }

    pub(super) fn imgtrust(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [("allow", 'a', false), ("permanent", 'p', false)];
        let arguments = Arguments::parse(words, &specs, 0..=0)?;
        let wanted = !arguments.has('a');
        if !self.trust.1 {
            self.trust = (wanted, arguments.has('p'));
        }
        if self.trust.0 != wanted {
            return Err(Failure::new(
                Errno::PERMANENT,
                "the demand for trust is permanent",
            ));
        }
        Ok(Step::Done)
    }

    pub(super) fn imgverify(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [
            ("signer", 's', true),
            ("keep", 'k', false),
            ("timeout", 't', true),
            ("quiet", 'q', false),
        ];
        Arguments::parse(words, &specs, 2..=2)?;
        Err(Failure::new(
            Errno::UNSUPPORTED,
            "checking signatures is not supported yet: nothing was verified",
        ))
    }

    pub(super) fn fdt(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [("timeout", 't', true), ("quiet", 'q', false)];
        let arguments = Arguments::parse(words, &specs, 0..=1)?;
        self.images.device_tree = match arguments.rest.first() {
            Some(name) => Some(self.acquire(name, arguments.timeout('t')?, false)?),
            None => None,
        };
        Ok(Step::Done)
    }

    pub(super) fn shim(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [
            ("timeout", 't', true),
            ("quiet", 'q', false),
            ("require-loader", 'l', false),
            ("allow-pxe", 'p', false),
            ("allow-sbat", 's', false),
        ];
        // A shim takes part in Secure Boot, which does not exist here: it would be fetched for nothing.
        Arguments::parse(words, &specs, 0..=1)?;
        Ok(Step::Done)
    }

    pub(super) fn md5sum(&mut self, words: &[String]) -> Result<Step, Failure> {
        self.digest(words, work::digest::<Md5>)
    }

    pub(super) fn sha1sum(&mut self, words: &[String]) -> Result<Step, Failure> {
        self.digest(words, work::digest::<Sha1>)
    }

    pub(super) fn sha256sum(&mut self, words: &[String]) -> Result<Step, Failure> {
        self.digest(words, work::digest::<Sha256>)
    }

    pub(super) fn sha512sum(&mut self, words: &[String]) -> Result<Step, Failure> {
        self.digest(words, work::digest::<Sha512>)
    }

    // D-60
    fn digest(
        &mut self,
        words: &[String],
        sum: fn(&[u8], &mut Tick<'_>) -> Vec<u8>,
    ) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[("set", 's', true)], 1..=MANY)?;
        let name = arguments
            .value('s')
            .map(|name| self.settings.name_to_store(name))
            .transpose()?;
        for wanted in arguments.rest {
            let id = self.acquire(wanted, None, false)?;
            let sum = sum(self.images.bytes(id), &mut |_| self.world.tick());
            if let Some(name) = &name {
                self.settings.store(name, Type::HexRaw, &sum)?;
                continue;
            }
            let sum = Type::HexRaw.format(&sum).unwrap_or_default();
            let called = self.images.get(id).map_or("", |image| image.name());
            let line = format!("{sum}  {called}\n");
            self.print(&line);
        }
        Ok(Step::Done)
    }

    /// The absolute URL of what a script names.
    pub(super) fn resolve_uri(&self, uri: &str) -> Result<Url, Failure> {
        let resolved = match &self.settings.facts.cwuri {
            Some(base) => base.join_path(uri),
            None => Url::parse(uri),
        };
        resolved.map_err(|error| {
            let errno = match error {
                url::Error::Scheme(_) => Errno::SCHEME,
                _ => Errno::VALUE,
            };
            Failure::new(errno, error.to_string())
        })
    }

    /// Downloads a URI, `##params` and all, into a new image.
    pub(super) fn download(
        &mut self,
        uri: &str,
        patience: Option<Duration>,
        kernel: bool,
        front: usize,
    ) -> Result<Id, Failure> {
        let (uri, list) = match uri.split_once("##params") {
            Some((uri, list)) => (uri, self.claim_parameters(list.strip_prefix('='))),
            None => (uri, None),
        };
        let fragment = uri.split_once('#').map(|(_, fragment)| fragment);
        let url = self.resolve_uri(uri)?;
        self.configure()?;
        self.errand()?;
        let (method, entries, _share) = match list {
            Some(list) => (list.method, list.entries, Some(list.share)),
            None => (None, Vec::new(), None),
        };
        let (headers, fields): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.header);
        let headers: Vec<(String, String)> = headers
            .into_iter()
            .map(|entry| (entry.key, entry.value))
            .collect();
        let form: Vec<String> = fields
            .iter()
            .map(|entry| {
                let [key, value] = [&entry.key, &entry.value].map(|text| uri_encoded(text.as_bytes()));
                format!("{key}={value}")
            })
            .collect();
        let form = (!form.is_empty()).then(|| form.join("&"));
        let default = if form.is_some() { Method::Post } else { Method::Get };
        let request = Request {
            url: &url,
            method: method.unwrap_or(default),
            headers: &headers,
            form: form.as_deref(),
            patience,
        };
        let (at, room) = self.images.room(kernel, front, &mut |_| self.world.tick());
        let result = self.world.fetch(&request, room);
        self.progress();
        match result {
            Ok(response) => {
                self.misses = 0;
                let name = base_name(&url);
                let id = self.images.add(name, response.url, at, response.len, front)?;
                let is_fit = fit::is_fit(self.images.bytes(id));
                let configuration = fragment.filter(|name| is_fit && !name.is_empty());
                if let (Some(image), Some(name)) = (self.images.get_mut(id), configuration) {
                    image.configure(name)?;
                }
                Ok(id)
            }
            Err(error) => {
                self.misses = self.misses.saturating_add(1);
                if self.misses > FREE_MISSES {
                    self.pause(patience::MISS)?;
                }
                Err(Failure::new(Errno::of_fetch(&error), error.to_string()))
            }
        }
    }
}
