// `npm run deb`, or build.mjs DIRECTORY [VERSION [PACKAGE]]: evenkeel_VERSION_all.deb and evenkeel-aws-crt_VERSION_ARCH.deb
// of what `npm run build` has made. The same sources and SOURCE_DATE_EPOCH (else the time of the last commit) make the
// same bytes.
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { rolldown } from 'rolldown';

const ROOT = new URL('../..', import.meta.url).pathname;
const HERE = new URL('.', import.meta.url).pathname;
const [out = join(ROOT, 'dist/deb'), version = await versionOfPackage(), only] = process.argv.slice(2);
const epoch = Number(process.env.SOURCE_DATE_EPOCH ?? timeOfCommit());
/** Debian's names, and those of aws-crt's binaries. */
const ARCHITECTURES = { amd64: 'linux-x64-glibc', arm64: 'linux-arm64-glibc' };
const SCRIPTS = ['postinst', 'prerm', 'postrm'];

await fs.mkdir(out, { recursive: true });
console.log(await build('evenkeel', 'all', agent));
for (const [arch, binary] of Object.entries(ARCHITECTURES)) {
  if (only === 'evenkeel') break;
  console.log(await build('evenkeel-aws-crt', arch, (put) => awsCrt(put, binary)));
}

async function agent(put) {
  const built = await fs.readdir(join(ROOT, 'dist/cli'));
  const modules = [
    'main.js',
    ...built.filter((name) => /^simulat.*\.js$/.test(name) && name !== 'simulate-command.js'),
  ];
  for (const name of modules) {
    const text = await fs.readFile(join(ROOT, 'dist/cli', name), 'utf8');
    const debian = text.replace(/^#!.*/, '#!/usr/bin/node').replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n');
    await put(`usr/lib/evenkeel/dist/cli/${name}`, debian, name === 'main.js' ? 0o755 : 0o644);
  }
  // No clock of a device that is right is behind it.
  await put('usr/lib/evenkeel/dist/cli/built.json', `${JSON.stringify({ builtAtMs: epoch * 1000 })}\n`);
  for (const name of await fs.readdir(join(ROOT, 'src/simulator/console/page'))) {
    await put(
      `usr/lib/evenkeel/dist/cli/page/${name}`,
      await fs.readFile(join(ROOT, 'src/simulator/console/page', name)),
    );
  }
  await put(
    'usr/lib/evenkeel/package.json',
    `${JSON.stringify({ name: 'evenkeel', version, type: 'module' })}\n`,
  );
  await put(
    'usr/lib/evenkeel/notify-launcher',
    await fs.readFile(join(ROOT, 'systemd/notify-launcher')),
    0o755,
  );
  await put(
    'usr/lib/systemd/system/evenkeel.service',
    await fs.readFile(join(ROOT, 'systemd/evenkeel.service')),
  );
  await put('usr/lib/sysusers.d/evenkeel.conf', await fs.readFile(join(ROOT, 'systemd/evenkeel.sysusers')));
  await put('usr/lib/tmpfiles.d/evenkeel.conf', await fs.readFile(join(ROOT, 'systemd/evenkeel.tmpfiles')));
  await put('etc/evenkeel/evenkeel.yaml', await fs.readFile(join(ROOT, 'config/evenkeel.yaml')));
  const doc = 'usr/share/doc/evenkeel';
  await put(`${doc}/licences.txt.gz`, zipped(await fs.readFile(join(ROOT, 'dist/cli/licences.txt'))));
  await put(`${doc}/README.md.gz`, zipped(await fs.readFile(join(ROOT, 'README.md'))));
  await put(`${doc}/examples/credentials.conf`, await fs.readFile(join(ROOT, 'systemd/credentials.conf')));
  await put('usr/share/man/man1/evenkeel.1.gz', zipped(told('man')));
  await put('usr/share/bash-completion/completions/evenkeel', told('completion', 'bash'));
  await put('usr/share/zsh/vendor-completions/_evenkeel', told('completion', 'zsh'));
  await put('usr/share/fish/vendor_completions.d/evenkeel.fish', told('completion', 'fish'));
  await put('usr/share/lintian/overrides/evenkeel', await fs.readFile(join(HERE, 'lintian-overrides')));
  await put.link('usr/bin/evenkeel', '../lib/evenkeel/dist/cli/main.js');
}

/** One file and the binary beside it, in the place of 44 MB. */
async function awsCrt(put, binary) {
  const directory = join(ROOT, 'node_modules/aws-crt');
  const bundle = await rolldown({ input: join(directory, 'dist/index.js'), platform: 'node' });
  const banner =
    "process.env.AWS_CRT_NODEJS_BINARY_ABSOLUTE_PATH ??= require('node:path').join(__dirname, 'aws-crt-nodejs.node');";
  const { output } = await bundle.generate({ format: 'cjs', minify: true, codeSplitting: false, banner });
  await bundle.close();
  const home = 'usr/lib/evenkeel/node_modules/aws-crt';
  const { version: crt } = JSON.parse(await fs.readFile(join(directory, 'package.json'), 'utf8'));
  await put(
    `${home}/package.json`,
    `${JSON.stringify({ name: 'aws-crt', version: crt, main: 'index.js' })}\n`,
  );
  await put(`${home}/index.js`, output[0].code);
  await put(
    `${home}/aws-crt-nodejs.node`,
    await fs.readFile(join(directory, 'dist/bin', binary, 'aws-crt-nodejs.node')),
  );
}

async function build(name, arch, fill) {
  const stage = await fs.mkdtemp(join(tmpdir(), 'evenkeel-deb-'));
  try {
    const put = async (path, content, mode = 0o644) => {
      await fs.mkdir(dirname(join(stage, path)), { recursive: true });
      await fs.writeFile(join(stage, path), content);
      await fs.chmod(join(stage, path), mode);
    };
    put.link = async (path, target) => {
      await fs.mkdir(dirname(join(stage, path)), { recursive: true });
      await fs.symlink(target, join(stage, path));
    };
    await fill(put);
    await put(`usr/share/doc/${name}/copyright`, await fs.readFile(join(HERE, 'copyright')));
    await put(`usr/share/doc/${name}/changelog.gz`, zipped(changelog(name)));
    const files = (await fs.readdir(stage, { recursive: true, withFileTypes: true })).filter(
      (one) => !one.isDirectory(),
    );
    const paths = files.map((one) => join(one.parentPath, one.name).slice(stage.length + 1)).sort();
    const sums = execFileSync('md5sum', ['--', ...paths.filter((path) => !path.startsWith('usr/bin/'))], {
      cwd: stage,
    });
    await put(
      'DEBIAN/md5sums',
      sums
        .toString()
        .split('\n')
        .filter((line) => !/ etc\//.test(line))
        .join('\n'),
    );
    const size = (await Promise.all(paths.map((path) => fs.lstat(join(stage, path))))).reduce(
      (sum, one) => sum + Math.ceil(one.size / 1024),
      0,
    );
    const control = name === 'evenkeel' ? 'control' : 'control-aws-crt';
    const values = { VERSION: version, ARCH: arch, SIZE: String(size) };
    const text = await fs.readFile(join(HERE, control), 'utf8');
    await put(
      'DEBIAN/control',
      text.replace(/@(\w+)@/g, (_, key) => values[key]),
    );
    if (name === 'evenkeel') {
      await put('DEBIAN/conffiles', await fs.readFile(join(HERE, 'conffiles')));
      for (const script of SCRIPTS)
        await put(`DEBIAN/${script}`, await fs.readFile(join(HERE, script)), 0o755);
    }
    // Whatever the umask is; and times that a clock has no part in.
    execFileSync('find', [stage, '-type', 'd', '-exec', 'chmod', '755', '{}', '+']);
    execFileSync('find', [stage, '-exec', 'touch', '-h', '-d', `@${epoch}`, '{}', '+']);
    const file = join(out, `${name}_${version}_${arch}.deb`);
    const env = { ...process.env, SOURCE_DATE_EPOCH: String(epoch) };
    execFileSync('dpkg-deb', ['--root-owner-group', '-Zxz', '--build', stage, file], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return file;
  } finally {
    await fs.rm(stage, { recursive: true });
  }
}

function changelog(name) {
  const date = new Date(epoch * 1000).toUTCString().replace('GMT', '+0000');
  return `${name} (${version}) stable; urgency=medium\n\n  * As of this version.\n\n -- Evenkeel maintainers <maintainers@evenkeel.invalid>  ${date}\n`;
}

/** Of what the commands say of themselves. */
/** What the agent says of its own commands. */
function told(...args) {
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(epoch) };
  return execFileSync(process.execPath, [join(ROOT, 'dist/cli/main.js'), ...args], { encoding: 'utf8', env });
}

function zipped(content) {
  // Node writes no name and no time into it.
  return gzipSync(content, { level: 9 });
}

function timeOfCommit() {
  return execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: ROOT, encoding: 'utf8' }).trim();
}

async function versionOfPackage() {
  return JSON.parse(await fs.readFile(join(ROOT, 'package.json'), 'utf8')).version;
}
