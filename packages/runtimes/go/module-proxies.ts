/** How a build reaches the operator's Go modules. */
export interface ModuleProxies {
  readonly environment: Readonly<Record<string, string>>;
  /** `host:port` of proxies and of the checksum database. */
  readonly registries: readonly string[];
}

const DEFAULTS = { GOPROXY: "https://proxy.golang.org", GOSUMDB: "sum.golang.org", GONOSUMDB: "" };

/**
 * What the operator's go would ask: the environment before the files of `go env -w`. `direct` is left out, since it means to run version control
 * programs against any host; so are proxies that are folders.
 */
export function moduleProxies(
  environment: Readonly<Record<string, string | undefined>>,
  files: readonly string[],
): ModuleProxies {
  const setting = (name: keyof typeof DEFAULTS): string =>
    environment[name] ||
    files.map((text) => new RegExp(`^${name}=(.+)$`, "m").exec(text)?.[1]?.trim()).find(Boolean) ||
    DEFAULTS[name];
  const proxies = setting("GOPROXY")
    .split(/[,|]/)
    .map((each) => each.trim())
    .filter((each) => /^https?:\/\//.test(each));
  const [database = "", address] = setting("GOSUMDB").split(/\s+/);
  const hosts = [...proxies];
  if (database !== "off") hosts.push(address ?? `https://${database.split("+")[0]}`);
  return {
    environment: {
      GOPROXY: proxies.length === 0 ? "off" : proxies.join(","),
      GOSUMDB: setting("GOSUMDB"),
      ...(setting("GONOSUMDB") !== "" && { GONOSUMDB: setting("GONOSUMDB") }),
    },
    registries: [...new Set(hosts.flatMap(hostAndPort))],
  };
}

function hostAndPort(address: string): string[] {
  const url = URL.parse(address);
  return url === null ? [] : [`${url.hostname}:${url.port || (url.protocol === "https:" ? "443" : "80")}`];
}
