//! The emulated machines: starts QEMU on an image, feeds it a network, reads its console.
