# The service's image: the binary with only the files it needs.
#
#   docker build -t contact-service .
#   buildah build --format docker -t contact-service .      (the OCI format has no HEALTHCHECK)

# The release in rust-toolchain.toml, pinned by the digest of its multi-platform index; scripts/test
# checks both. docs/operations/images.md describes upgrades.
ARG RUST_IMAGE=rust:1.95.0-slim-trixie@sha256:e14e87345b4d5964ddcc3491d27ee046a0f23820f340c3c1e24da6880141f7c0

FROM ${RUST_IMAGE} AS build
WORKDIR /build
COPY . .
# Downloads and build results are kept in cache mounts, which BuildKit and buildah both support. The
# build stays a single step, without a dependency layer made from empty sources; a builder without
# persistent mounts builds everything from scratch with the same result. Cargo detects changes by
# file times, and those of a checkout can be older than the cache.
#
# The binary is linked statically, so that scripts/release publishes the one that is tested in this
# image. Only with a named target do the flags not apply to build scripts, which cannot be static.
# A dependency in C contains the time of its compilation: a constant one, so that builds are equal.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    find src build.rs proto third_party -exec touch {} + \
    && cc -O2 -c -o /static_names.o src/static_names.c \
    && target="$(rustc --print host-tuple)" \
    && SOURCE_DATE_EPOCH=0 RUSTFLAGS="-C target-feature=+crt-static -C link-arg=/static_names.o" \
        cargo build --release --locked --bin contact-service --target "$target" \
    && install -D "target/$target/release/contact-service" /image/usr/local/bin/contact-service \
    && install -D -m 644 -t /image/usr/share/doc/contact-service \
        third_party/NOTICES.txt LICENSE-MIT LICENSE-APACHE

# The root file system:
#
# - Root certificates for JWKS over HTTPS and SMTP over TLS, at the default path; SSL_CERT_FILE
# overrides it. Time zones are compiled in.
# - The license and status file of each Debian package that is part of it, from which scanners read
# the version. libc6 and libgcc-s1 are those that are linked into the binary; they are updated with
# RUST_IMAGE.
# - The service's own folder, and a mount point for temporary files.
WORKDIR /image
RUN cp --parents --dereference --target-directory=. /etc/ssl/certs/ca-certificates.crt \
    && mkdir -p var/lib/dpkg/status.d /state/contact-service \
    && for package in libc6 libgcc-s1 ca-certificates; do \
        cp --parents --dereference --target-directory=. "/usr/share/doc/$package/copyright" \
        && dpkg-query --status "$package" >"var/lib/dpkg/status.d/$package" || exit 1; \
    done \
    && mkdir -m 1777 tmp \
    && echo 'contact-service:x:65532:65532::/var/lib/contact-service:/usr/sbin/nologin' >etc/passwd \
    && echo 'contact-service:x:65532:' >etc/group

FROM scratch
COPY --from=build /image/ /
COPY --from=build --chown=65532:65532 /state/ /var/lib/

# Loopback is useless in a container. With development keys the service rejects other addresses, so
# it starts only with JWT_JWKS, SERVICE_KEYS and PHONE_PEPPER, and its error says so.
ENV LISTEN_ADDR=0.0.0.0:50051 \
    HTTP_ADDR=0.0.0.0:8080 \
    METRICS_ADDR=0.0.0.0:9090 \
    LOG_FORMAT=json

# A numeric id, so that Kubernetes can verify that it is not root. The service writes to data/ here
# only with an SQLite database or without SMTP_URL, which then requires a volume.
USER 65532:65532
WORKDIR /var/lib/contact-service
# gRPC, the page /confirm, and metrics with probes, which must never be public.
EXPOSE 50051 8080 9090
# The service drains for 20 s; allow 30 s before it is killed (docker stop's default is 10 s).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/contact-service", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/contact-service"]
CMD ["serve"]

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="contact-service" \
    org.opencontainers.image.description="Manages the contacts of business customers, their permissions and e-mail recipients, over gRPC" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
