"""TLS for ``leveret publish`` and ``subscribe``, by mosquitto's options."""

import ssl
from typing import Any, Final

import click

PORT: Final = 8883
"""Of MQTT over TLS, registered with IANA (secure-mqtt)."""
VERSIONS: Final = {"tlsv1.2": ssl.TLSVersion.TLSv1_2, "tlsv1.3": ssl.TLSVersion.TLSv1_3}
"""The least that is accepted, as with mosquitto. 1.1, which it still knows, is deprecated by RFC 8996."""

OPTIONS: Final = (
    click.option("--cafile", metavar="FILE", help="TLS; trusts the certificates in this file."),
    click.option(
        "--capath", metavar="DIRECTORY", help="TLS; trusts the certificates in this one, hashed by openssl."
    ),
    click.option("--tls-use-os-certs", is_flag=True, help="TLS; trusts what the system trusts."),
    click.option("--cert", metavar="FILE", help="Client certificate, PEM; with --key."),
    click.option("--key", metavar="FILE", help="Its private key, PEM."),
    click.option(
        "--insecure",
        is_flag=True,
        help="Don't check that the broker's certificate is for --host. Anybody with a certificate of the same "
        "authority can be the broker then: for tests only.",
    ),
    click.option(
        "--tls-version", type=click.Choice(list(VERSIONS)), help="The least to accept.  [default: tlsv1.2]"
    ),
    click.option("--tls-alpn", metavar="PROTOCOL", help="Application protocol to ask for."),
    click.option("--ciphers", help="OpenSSL's list of ciphers, for TLS 1.2."),
)
NAMES: Final = (
    *("cafile", "capath", "tls_use_os_certs", "cert", "key", "insecure", "tls_version", "tls_alpn"),
    "ciphers",
)


def tls_context(given: dict[str, Any], *, is_wanted: bool) -> ssl.SSLContext | None:
    """Of the options; None without TLS. ``is_wanted`` by mqtts://, which trusts what the system trusts.

    Raises click.UsageError for options that do not go together, click.ClickException for files that are not there.
    """
    trusts = given["cafile"] or given["capath"]
    if not (trusts or given["tls_use_os_certs"] or is_wanted):
        for name in NAMES:
            if given[name]:
                raise click.UsageError(
                    f"--{name.replace('_', '-')} is of TLS, which --cafile, --capath or --tls-use-os-certs switches on"
                )
        return None
    if bool(given["cert"]) != bool(given["key"]):
        raise click.UsageError("--cert and --key go together: a certificate and its private key")
    what = "--cafile and --capath"
    try:
        # Without either of them it loads the system's.
        context = ssl.create_default_context(cafile=given["cafile"], capath=given["capath"])
        if trusts and given["tls_use_os_certs"]:
            context.load_default_certs()
        if given["cert"]:
            what = "--cert and --key"
            context.load_cert_chain(given["cert"], given["key"])
        if given["ciphers"]:
            what = "--ciphers"
            context.set_ciphers(given["ciphers"])
    except OSError as error:
        raise click.ClickException(f"cannot use what {what} name: {error}") from error
    context.minimum_version = VERSIONS[given["tls_version"] or "tlsv1.2"]
    context.check_hostname = not given["insecure"]
    if given["tls_alpn"]:
        context.set_alpn_protocols([given["tls_alpn"]])
    return context
