//! iPXE scripts as provisioning servers write them, from DHCP to a kernel in memory. The scripts are ours, after what is
//! known of each server's dialect and manners.

use smoltcp::time::Duration;
use tests::{Http, Proxy, Random, Reply, Site, lines, payload};

fn millis(at: u64) -> Duration {
    Duration::from_millis(at)
}

/// A site whose DHCP server names this boot file.
fn site(seed: u64, boot_file: &str) -> Site {
    let site = Site::with_payload(seed, 50_000, 10_000);
    site.dhcp.borrow_mut().file = boot_file.into();
    site
}

fn asked(site: &Site) -> Vec<String> {
    site.http.borrow().paths()
}

const HEXHYP: &str = "b8-27-eb-01-02-03";
const UUID: &str = "52506934-8220-a000-eb01-0203efbead5e";

#[test]
fn warewulf_expands_the_boot_file_and_goes_on_without_its_runtime_overlay() {
    let mut site = site(
        1,
        "http://192.168.7.2/ipxe/${mac:hexhyp}?assetkey=${asset}&uuid=${uuid}",
    );
    let query = format!("?assetkey=a02082&uuid={UUID}");
    site.route(
        &format!("/ipxe/{HEXHYP}{query}"),
        [Reply::ok(
            r"#!ipxe

# Downloads by stages, compressed where the firmware can unpack
set uri http://192.168.7.2/provision/${mac:hexhyp}?assetkey=${asset}&uuid=${uuid}
echo Node ${net0/ip} from ${next-server}
iseq ${platform} efi && goto efi ||
goto failed
:efi
kernel --name kernel ${uri}&stage=kernel || goto failed
imgextract --name image ${uri}&stage=image&compress=gz || goto failed
initrd --name system ${uri}&stage=system || goto failed
initrd --name runtime ${uri}&stage=runtime && set runtime initrd=runtime || echo no runtime overlay
goto run
:run
boot kernel initrd=image initrd=system ${runtime} wwid=${net0/mac:hexhyp} quiet || goto failed
:failed
sleep 30
reboot
",
        )],
    );
    let stage = |name: &str| format!("/provision/{HEXHYP}{query}&stage={name}");
    let (image, system) = (payload::body(9000, 1), payload::body(500, 2));
    site.route(&stage("kernel"), [Reply::ok(site.kernel.clone()).chunked(1000)]);
    site.route(
        &format!("{}&compress=gz", stage("image")),
        [Reply::ok(payload::gzip(&image))],
    );
    site.route(&stage("system"), [Reply::ok(system.clone())]);
    site.route(&stage("runtime"), [Reply::status("401 Unauthorized", "no")]);
    let handoff = site.boot().unwrap();
    let loaded = site.inspect(&handoff);
    assert_eq!(loaded.initrd[..9000], image);
    assert_eq!(loaded.initrd[12288..12788], system);
    assert!(
        loaded
            .bootargs
            .contains(&format!("initrd=image initrd=system  wwid={HEXHYP} quiet"))
    );
    assert!(site.errors().is_empty());
    let log = lines();
    assert!(
        log.iter()
            .any(|line| line.text.contains("stage=runtime: 401 Unauthorized")),
        "the failure that the script provides for is told"
    );
}

const XYZ_MENU: &str = r"#!ipxe
:start
chain --autofree boot.cfg ||
ntp 0.pool.ntp.org ||
iseq ${cls} serial && goto ignore_cls ||
set cls:hex 1b:5b:4a  # ANSI clear
set cls ${cls:string}
:ignore_cls
isset ${hostname} && chain --autofree HOSTNAME-${hostname}.ipxe ||
chain --autofree MAC-${mac:hexraw}.ipxe ||
isset ${arch} && goto skip_arch_detect ||
cpuid --ext 29 && set arch x86_64 || set arch i386
iseq ${buildarch} arm64 && set arch arm64 ||
:skip_arch_detect
isset ${menu} && goto ${menu} ||
:main_menu
clear menu
set space:hex 20:20
set space ${space:string}
menu ${site_name} [ ${arch} ]
item --gap Default:
item local ${space} Boot from a local disk
item --gap Distributions:
iseq ${arch} arm64 && item --key l linux ${space} Linux (${arch}) ||
item exit ${space} Exit
isset ${menu} && set timeout 0 || set timeout ${boot_timeout}
choose --timeout ${timeout} --default ${menu} menu || goto local
echo ${cls}
goto ${menu} ||
chain ${menu}.ipxe || goto error
goto main_menu
:local
sanboot --no-describe --drive 0x80 || goto main_menu
:exit
exit 1
:error
echo Error occurred, press any key
prompt --timeout 10000
goto main_menu
";

const XYZ_LINUX: &str = r"#!ipxe
goto ${menu} ||
:linux
set os Linux
menu ${os}
item --gap Releases
item bookworm ${space} Debian 12
item trixie ${space} Debian 13
choose version || goto linux_exit
set mirror http://192.168.7.2
imgfree
kernel ${mirror}/${version}/vmlinuz initrd=initrd.magic ${cmdline}
initrd ${mirror}/${version}/initrd
md5sum vmlinuz initrd
boot
goto linux_exit
:linux_exit
clear menu
exit 0
";

/// A menu in the manner of netboot.xyz; its kernels are redirected to another host.
fn xyz(seed: u64) -> Site {
    let site = site(seed, "http://192.168.7.2/menu.ipxe");
    site.route("/menu.ipxe", [Reply::ok(XYZ_MENU)]);
    site.route(
        "/boot.cfg",
        [Reply::ok(
            "#!ipxe\n:global_vars\nset site_name our boot menu\nset boot_timeout 30000\nset cmdline quiet\n",
        )],
    );
    site.route("/linux.ipxe", [Reply::ok(XYZ_LINUX)]);
    for version in ["bookworm", "trixie"] {
        let path = format!("/{version}/vmlinuz");
        site.route(
            &path,
            [Reply::redirect(302, &format!("http://192.168.7.3/{version}"))],
        );
        site.route(&format!("/{version}/initrd"), [Reply::ok(site.initrd.clone())]);
    }
    let mirror = site.lan.attach(Http::new([192, 168, 7, 3]));
    for version in ["bookworm", "trixie"] {
        mirror
            .borrow_mut()
            .route(&format!("/{version}"), [Reply::ok(site.kernel.clone())]);
    }
    site
}

#[test]
fn a_menu_in_the_manner_of_netboot_xyz_by_keys() {
    let mut site = xyz(2);
    // The hot key chooses at once; then down and Enter.
    site.node = std::mem::take(&mut site.node)
        .types(millis(8000), b"l")
        .types(millis(12000), b"\x1b[B")
        .types(millis(13000), b"\r");
    let loaded = site.boots();
    assert!(loaded.bootargs.contains("initrd=initrd.magic quiet"));
    let asked = asked(&site);
    assert_eq!(asked[..3], ["/menu.ipxe", "/boot.cfg", "/MAC-b827eb010203.ipxe"]);
    assert_eq!(asked[3..], ["/linux.ipxe", "/trixie/vmlinuz", "/trixie/initrd"]);
    let screen = site.node.screen();
    for text in ["our boot menu [ arm64 ]", "Linux (arm64)", "[l]", "Debian 13"] {
        assert!(screen.contains(text), "{text} is not on the screen");
    }
}

#[test]
fn an_unattended_menu_under_a_hail_of_bytes_takes_its_default_in_time() {
    let mut site = xyz(3);
    site.route(
        "/boot.cfg",
        [Reply::ok("#!ipxe\nset version bookworm\nset cmdline quiet\n")],
    );
    site.route(
        "/linux.ipxe",
        [Reply::ok(
            XYZ_LINUX.replace("choose version", "choose --timeout 20000 version"),
        )],
    );
    site.route(
        "/menu.ipxe",
        [Reply::ok(
            "#!ipxe\nchain boot.cfg\nmenu M\nitem other Other\nitem linux Linux\n\
             choose --timeout 5000 --default linux menu\nprompt --key s --timeout 1000 press s && shell ||\n\
             chain ${menu}.ipxe\n",
        )],
    );
    let mut random = Random::new(99);
    let mut bytes = [0; 4000];
    random.fill(&mut bytes);
    let mut node = std::mem::take(&mut site.node);
    for (i, pair) in bytes.chunks(2).enumerate() {
        // Bursts and lone bytes, but no key that a person might have pressed for these menus.
        let noise: Vec<u8> = pair
            .iter()
            .map(|byte| match byte {
                b'\r' | b'\n' | 0x1b | 3 | b's' => b'x',
                other => *other,
            })
            .collect();
        node = node.types(millis(4000 + 30 * i as u64), noise);
    }
    site.node = node;
    site.boots();
    let at = boot::Clock::now(&site.lan).total_millis();
    assert!((20_000..90_000).contains(&at), "{at}");
}

#[test]
fn tinkerbell_retries_each_file_and_knows_its_nodes_by_address() {
    let mut site = site(4, "http://192.168.7.2/b8:27:eb:01:02:03/auto.ipxe");
    site.route(
        "/b8:27:eb:01:02:03/auto.ipxe",
        [Reply::ok(
            r"#!ipxe
echo Loading the in-memory system...
set arch ${buildarch}
iseq ${arch} arm32 && set arch aarch64 ||
iseq ${arch} arm64 && set arch aarch64 ||
set base http://192.168.7.2/hook
set retries:int32 10
set retry_delay:int32 3
set worker_id ${mac}
set idx:int32 0
:retry_kernel
kernel ${base}/vmlinuz-${arch} \
  worker_id=${worker_id} console=ttyAMA0 tink_worker=${uuid} && goto download_initrd || iseq ${idx} ${retries} && goto kernel-error || inc idx && echo retry in ${retry_delay} seconds ; sleep ${retry_delay} ; goto retry_kernel
:download_initrd
set idx:int32 0
:retry_initrd
initrd ${base}/initramfs-${arch} && goto boot || iseq ${idx} ${retries} && goto initrd-error || inc idx && sleep ${retry_delay} ; goto retry_initrd
:boot
set idx:int32 0
:retry_boot
boot || iseq ${idx} ${retries} && goto boot-error || inc idx && sleep ${retry_delay} ; goto retry_boot
:kernel-error
exit
:initrd-error
exit
:boot-error
exit
",
        )],
    );
    let busy = || Reply::status("503 Busy", "later");
    site.route(
        "/hook/vmlinuz-aarch64",
        [busy(), busy(), Reply::ok(site.kernel.clone())],
    );
    site.route(
        "/hook/initramfs-aarch64",
        [busy(), Reply::ok(site.initrd.clone())],
    );
    let loaded = site.boots();
    assert!(
        loaded
            .bootargs
            .contains("worker_id=b8:27:eb:01:02:03 console=ttyAMA0 tink_worker=52506934-")
    );
    assert!(site.errors().is_empty());
    assert_eq!(asked(&site).len(), 6);
}

#[test]
fn matchbox_is_asked_by_relative_names_until_it_knows_the_node() {
    let mut site = site(5, "http://192.168.7.2/boot.ipxe");
    site.dhcp.borrow_mut().options.push((12, b"node7".to_vec()));
    site.route(
        "/boot.ipxe",
        [Reply::ok(
            "#!ipxe\nchain ipxe?uuid=${uuid}&mac=${mac:hexhyp}&domain=${domain}&hostname=${hostname}\
             &serial=${serial}&arch=${buildarch:uristring}\n",
        )],
    );
    let path = format!("/ipxe?uuid={UUID}&mac={HEXHYP}&domain=&hostname=node7&serial=5eadbeef&arch=arm64");
    site.route(
        &path,
        [
            Reply::status("404 Not Found", "no profile"),
            Reply::ok("#!ipxe\nkernel /assets/kernel coreos.config.url=http://m/ignition?uuid=${uuid}\ninitrd /assets/initrd\nboot\n"),
        ],
    );
    site.route("/assets/kernel", [Reply::ok(site.kernel.clone())]);
    site.route("/assets/initrd", [Reply::ok(site.initrd.clone())]);
    site.boots();
    let errors = site.errors();
    assert_eq!(errors.len(), 1, "one attempt failed, the next did not");
    assert!(
        errors[0]
            .text
            .starts_with("script: http://192.168.7.2/boot.ipxe line 2: chain ipxe?uuid=")
            && errors[0].text.ends_with(": 404 Not Found"),
        "{}",
        errors[0].text
    );
}

#[test]
fn a_boot_script_service_sends_an_unknown_node_round_until_it_is_known() {
    let mut site = site(
        6,
        "http://192.168.7.2/boot/v1/bootscript?mac=${mac}&arch=${buildarch}",
    );
    let path = "/boot/v1/bootscript?mac=b8:27:eb:01:02:03&arch=arm64";
    let unknown = "#!ipxe\necho Unknown, again in 10 s\nsleep 10\n\
                   chain http://192.168.7.2/boot/v1/bootscript?mac=${mac}&arch=${buildarch}\n";
    let known = "#!ipxe\nkernel --name kernel http://192.168.7.2/k || goto boot_retry\n\
                 initrd --name initrd http://192.168.7.2/i || goto boot_retry\n\
                 boot kernel initrd=initrd\n:boot_retry\nsleep 30\nexit 1\n";
    // More often than scripts may be nested.
    let replies = std::iter::repeat_n(unknown, 50).chain([known]).map(Reply::ok);
    site.route(path, replies);
    site.route("/k", [Reply::ok(site.kernel.clone())]);
    site.route("/i", [Reply::ok(site.initrd.clone())]);
    site.boots();
    assert!(site.errors().is_empty());
    assert!(boot::Clock::now(&site.lan).total_millis() > 500_000);
}

#[test]
fn fog_is_posted_what_the_node_is_and_answers_with_a_script() {
    let mut site = site(7, "http://192.168.7.2/fog/default.ipxe");
    site.route(
        "/fog/default.ipxe",
        [Reply::ok(
            r"#!ipxe
cpuid --ext 29 && set arch x86_64 || set arch ${buildarch}
params
param mac0 ${net0/mac}
param arch ${arch}
param platform ${platform}
param product ${product}
param filename ${filename}
isset ${net1/mac} && param mac1 ${net1/mac} || goto bootme
:bootme
chain http://192.168.7.2/fog/boot.php##params
",
        )],
    );
    site.route(
        "/fog/boot.php",
        [Reply::ok("#!ipxe\nkernel k loglevel=4\nimgfetch i\nboot\n")],
    );
    site.route("/fog/k", [Reply::ok(site.kernel.clone())]);
    site.route("/fog/i", [Reply::ok(site.initrd.clone())]);
    site.boots();
    let http = site.http.borrow();
    let post = &http.log[1];
    assert!(post.head.starts_with("POST /fog/boot.php HTTP/1.1\r\n"));
    assert_eq!(
        post.body,
        "mac0=b8%3A27%3Aeb%3A01%3A02%3A03&arch=arm64&platform=efi&product=Raspberry%20Pi%203%20Model%20B\
         &filename=http%3A%2F%2F192.168.7.2%2Ffog%2Fdefault.ipxe"
    );
}

#[test]
fn digitalrebar_tries_its_names_and_the_loop_over_interfaces_ends() {
    let mut site = site(8, "http://192.168.7.2/default.ipxe");
    site.route(
        "/default.ipxe",
        [Reply::ok(
            r"#!ipxe
chain ${netX/mac}.ipxe && exit 1 || goto chainip
:chainip
chain ${netX/ip}.ipxe && exit 1 || goto sledgehammer
:sledgehammer
set netid:int32 -1
:loop
inc netid
isset ${net${netid}/mac} || goto done
chain pxelinux.cfg/${net${netid}/mac:hexhyp} || goto loop
:done
chain ${builtin/buildarch}.ipxe || exit 1
",
        )],
    );
    site.route(
        "/arm64.ipxe",
        [Reply::ok(
            "#!gpxe \r\nkernel /k BOOTIF=01-${netX/mac:hexhyp}\r\ninitrd /i\r\nboot\r\n",
        )],
    );
    site.route("/k", [Reply::ok(payload::gzip(&site.kernel))]);
    site.route("/i", [Reply::ok(site.initrd.clone())]);
    let loaded = site.boots();
    assert!(loaded.bootargs.contains(&format!("BOOTIF=01-{HEXHYP}")));
    assert_eq!(
        asked(&site),
        [
            "/default.ipxe",
            "/b8:27:eb:01:02:03.ipxe",
            "/192.168.7.100.ipxe",
            &format!("/pxelinux.cfg/{HEXHYP}"),
            "/arm64.ipxe",
            "/k",
            "/i"
        ]
    );
}

#[test]
fn autoexec_on_the_next_server_comes_before_the_search_path() {
    let mut site = site(9, "");
    site.dhcp.borrow_mut().next_server = [192, 168, 7, 2].into();
    site.route(
        "/autoexec.ipxe",
        [Reply::ok(
            "#!ipxe\ninitrd /boot/initrd.img\nkernel /boot/Image auto\nboot\n",
        )],
    );
    assert!(site.boots().bootargs.contains("auto"));
    assert_eq!(
        asked(&site),
        ["/autoexec.ipxe", "/boot/initrd.img", "/boot/Image"]
    );
}

#[test]
fn a_proxy_and_the_dhcp_server_are_told_apart() {
    let mut site = site(10, "");
    site.lan
        .serve([192, 168, 7, 3], Proxy::new("http://192.168.7.2/proxy.ipxe"));
    site.route(
        "/proxy.ipxe",
        [Reply::ok(
            "#!ipxe\nkernel /boot/Image dhcp=${net0.dhcp/dhcp-server} proxy=${proxydhcp/dhcp-server}\n\
             initrd /boot/initrd.img\nboot\n",
        )],
    );
    let bootargs = site.boots().bootargs;
    assert!(
        bootargs.contains("dhcp=192.168.7.1 proxy=192.168.7.3"),
        "{bootargs}"
    );
}

#[test]
fn a_script_may_ask_dhcp_again_and_hears_the_new_answer() {
    let mut site = site(11, "http://192.168.7.2/first.ipxe");
    site.route(
        "/first.ipxe",
        [Reply::ok(
            "#!ipxe\ndhcp && echo at once ${unixtime}\nsleep 60\n:retry dhcp || goto retry\n\
             echo ${filename}\nkernel /boot/Image ip=${ip}\ninitrd /boot/initrd.img\nboot\n",
        )],
    );
    site.boots();
    let asked = site.dhcp.borrow().count(1);
    assert_eq!(asked, 2, "a fresh lease is an answer, an old one is not");
}

#[test]
fn reboot_resets_without_another_attempt() {
    let mut site = site(12, "http://192.168.7.2/r.ipxe");
    site.route("/r.ipxe", [Reply::ok("#!ipxe\nsleep 1\nreboot\n")]);
    assert_eq!(site.boot().unwrap_err(), boot::Error::Reset);
    assert_eq!(asked(&site), ["/r.ipxe"]);
}

#[test]
fn a_script_that_ends_without_booting_is_tried_again() {
    let mut site = site(13, "http://192.168.7.2/e.ipxe");
    site.route(
        "/e.ipxe",
        [
            Reply::ok("#!ipxe\nexit\n"),
            Reply::ok("#!ipxe\nexit 1\n"),
            Reply::ok("#!ipxe\nshell\n"),
            Reply::ok("#!ipxe\nkernel boot/Image\ninitrd boot/initrd.img\nboot\n"),
        ],
    );
    site.boots();
    let errors: Vec<String> = site.errors().into_iter().map(|line| line.text).collect();
    assert_eq!(
        errors,
        [
            "script: http://192.168.7.2/e.ipxe ended without booting anything, and there is no other boot device",
            "script: http://192.168.7.2/e.ipxe line 2: exit 1: status 0x1",
            "script: http://192.168.7.2/e.ipxe line 2: shell: nobody typed a line in time",
        ]
    );
}

#[test]
fn random_scripts_end_one_way_or_another() {
    let words = [
        "set",
        "x",
        "${x}",
        "goto",
        ":x",
        "chain",
        "r.ipxe",
        "||",
        "&&",
        ";",
        "inc",
        "item",
        "menu",
        "choose",
        "--timeout",
        "1",
        "echo",
        "\n",
        "\n",
        "\n",
        "isset",
        "kernel",
        "Image",
        "boot",
        "imgfree",
        "sleep",
        "exit",
        "prompt",
        "params",
        "r.ipxe##params",
        "param",
        "iseq",
        "${net${x}/mac}",
        "--",
        "\\\n",
        "#",
        "${",
        "}",
        "show",
        "time",
        "imgargs",
        "imgstat",
        "initrd",
        "clear",
        "form",
        "present",
        "fdt",
        "--name",
        "shell",
    ];
    let mut random = Random::new(5);
    for round in 0..60 {
        let mut text = String::from("#!ipxe\n");
        for _ in 0..200 {
            let mut byte = [0];
            random.fill(&mut byte);
            text.push_str(words[usize::from(byte[0]) % words.len()]);
            text.push(' ');
        }
        let mut site = site(100 + round, "http://192.168.7.2/boot/r.ipxe");
        site.route("/boot/r.ipxe", [Reply::ok(text)]);
        // A session that lets the watchdog starve, panics or never ends fails the rig.
        let _ = site.boot_attempts(1);
    }
}
