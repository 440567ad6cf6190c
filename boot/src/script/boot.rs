//! The boot of a script: the kernel, and what of everything else that was downloaded goes with it.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::budget::{self, Share};
use super::errno::{Errno, Failure};
use super::images::{Id, Image};
use super::initrds;
use super::machine::{Interpreter, Outcome};
use crate::load::{self, Initrd, Parts};
use crate::text::plain;
use crate::verify::{Expected, Fetched, Needs, verify};

impl Interpreter<'_, '_> {
    /// Boots the kernel `id` with everything else that was downloaded.
    pub(super) fn boot(&mut self, id: Id) -> Result<Outcome, Failure> {
        let device_tree = self.images.device_tree.filter(|tree| *tree != id);
        let initrds = initrds::of(&self.images, id, device_tree, &mut |_| self.world.tick());
        let no_image = || Failure::new(Errno::NO_IMAGE, "no such image");
        let image = self.images.get(id).ok_or_else(no_image)?;
        let command_line = String::from(image.arguments().unwrap_or_default());
        for image in initrds.iter().filter_map(|id| self.images.get(*id)) {
            if let Some(name) = initrds::file(image) {
                info!(
                    "script: {} is the file {} in the initial ramdisk",
                    image.url, name
                );
            }
        }
        info!("script: booting {} {}", image.url, plain(&command_line));
        // While it boots, what it boots is kept too.
        let mut share = self.budget.other();
        let mut parts = self.parts(id, &initrds, device_tree, command_line, &mut share)?;
        let memory = self.images.memory().reborrow();
        let loaded = self.world.load(&mut parts, memory);
        loaded.map(Outcome::Boot).map_err(|error| {
            // The scripts end with it (D-145); a person at a prompt loads again.
            if parts.moved {
                self.images.forget_data();
                warn!("script: what was loaded is forgotten, because it was moved for this boot");
            }
            let errno = match error {
                load::Error::Together { .. } => Errno::NO_MEMORY,
                _ => Errno::NOT_EXECUTABLE,
            };
            Failure::new(errno, error.to_string())
        })
    }

    /// The kernel `id`, what goes into the initial ramdisk and the device tree, verified.
    fn parts(
        &self,
        id: Id,
        files: &[Id],
        device_tree: Option<Id>,
        command_line: String,
        share: &mut Share,
    ) -> Result<Parts, Failure> {
        let memory = self.images.all_bytes();
        let mut verified = |id: Id, expected: Expected, headers: usize| {
            let image = self.images.get(id).filter(|image| image.at().is_some());
            let image = image.ok_or_else(|| Failure::new(Errno::NO_IMAGE, "no such image"))?;
            share.take(budget::element::<Initrd>())?;
            share.take(budget::texts(&[image.url.whole().len(), headers])?)?;
            let fetched = Fetched {
                url: image.url.clone(),
                at: image.at().unwrap_or_default(),
                digest: None,
            };
            let verified = verify(fetched, memory, expected, &Needs::Nothing);
            verified.map_err(|error| Failure::new(Errno::NOT_EXECUTABLE, error.to_string()))
        };
        let mut initrds = Vec::with_capacity(files.len());
        for &id in files {
            let image = self.images.get(id);
            let arguments = image.and_then(Image::arguments);
            let headers = initrds::headers(arguments.unwrap_or_default(), image.map_or(0, Image::len))?;
            let expected = if headers.is_empty() {
                Expected::Initrd
            } else {
                Expected::File
            };
            initrds.push(Initrd {
                file: verified(id, expected, headers.len())?,
                headers,
            });
        }
        Ok(Parts {
            kernel: verified(id, Expected::Kernel, 0)?,
            configuration: self.images.get(id).and_then(Image::configuration).map(Into::into),
            initrds,
            device_tree: device_tree
                .map(|id| verified(id, Expected::DeviceTree, 0))
                .transpose()?,
            overlays: Vec::new(),
            command_line,
            moved: false,
        })
    }
}
