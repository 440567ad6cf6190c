//! DHCP and a web server of the simulated LAN, on a wire to QEMU: they boot the built-in payload with an initrd.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use tests::site::{DHCP, HTTP, MENU};
use tests::{Dhcp, Host, Http, Reply, Station, Wire};

/// Ethernet's shortest frame without check sum. QEMU pads what comes from its user network or a tap, not from a socket.
const SHORTEST: usize = 60;

/// Serves until `stop`. Each frame goes through `send`, which decides what leaves in its place.
pub(crate) fn serve(
    wire: &Wire,
    payload: &[u8],
    initrd: Reply,
    mut send: impl FnMut(Vec<u8>, &mut dyn FnMut(&[u8])),
    stop: &AtomicBool,
) {
    let dhcp = Rc::new(RefCell::new(Dhcp::new().boot_file(MENU)));
    let mut dhcp = Station::new(DHCP.into(), dhcp);
    let mut http = Http::new(HTTP);
    http.route(
        "/boot/menu",
        [Reply::ok("LABEL tiny\n  LINUX payload.img\n  INITRD blob\n")],
    );
    http.route("/boot/payload.img", [Reply::ok(payload)]);
    http.route("/boot/blob", [initrd]);
    let mut hosts: [&mut dyn Host; 2] = [&mut dhcp, &mut http];
    let padded = |mut frame: Vec<u8>, put: &mut dyn FnMut(&[u8])| {
        frame.resize(frame.len().max(SHORTEST), 0);
        send(frame, put);
    };
    wire.serve(&mut hosts, padded, stop);
}
