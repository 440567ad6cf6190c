//! Host names to addresses: literal IPv4, or DNS over UDP through the lease's servers (RFC 1035).
