import {
  base64,
  choice,
  command,
  filePath,
  filePaths,
  flag,
  mode,
  optionalFilePath,
  packages,
  requiredCommand,
  requiredText,
  type Shape,
  sha256,
  text,
  texts,
  unitNames,
  url,
  whole,
} from './members.ts';
import type { PlanStep } from './plan.ts';

/** What an action of a document may say: the reader's own tables, and the source of the published schema. */

export const STEP_TIMEOUT_SECONDS = 3600;
const STEP_TIMEOUT_SECONDS_MAX = 7 * 86_400;
const CONTENT_CHARS_MAX = 32_768;
const SIZE_BYTES_MAX = 2 ** 40;
export const CHECK_INTERVAL_SECONDS = 1;
export const HEALTH_SECONDS = 3;

/** A handler and an operation: no path, so that it stays in its directory. */
export const PLAIN_NAME = { regex: /^[A-Za-z0-9][A-Za-z0-9._-]*$/, words: 'must be a plain file name' };

export const FORMATS = ['tar', 'tar.gz', 'tar.xz', 'tar.zst'] as const;

/** What every action may say beside `type` and `input`. */
export const ACTION = {
  name: text('Shown in logs, details and receipts.', 256),
  runAsUser: text("User whose rights the program has; the agent's own when absent.", 64),
  timeoutSeconds: whole(
    `A step that takes longer has failed (default ${STEP_TIMEOUT_SECONDS}).`,
    1,
    STEP_TIMEOUT_SECONDS_MAX,
  ),
  ignoreStepFailure: flag('The job goes on when this step fails.'),
  idempotent: flag('May be tried again after an interruption without an undo in between.'),
  pivot: flag('Once begun it must be finished: a cancel from there on is answered by going forward.'),
  undo: command('A command that undoes this step; it runs before the paths are put back.'),
  snapshotPaths: filePaths('Paths that the step may change: copied before, put back and compared after.'),
  sha256: sha256('Of a download (input.sha256 says the same).'),
  memoryMegabytesMax: whole('For all its processes together; needs systemd.', 1, 1_000_000),
  tasksMax: whole('Its processes and threads at a time; needs systemd.', 2, 1_000_000),
  allowStdErr: whole('More lines than this on stderr fail the step.', 0, 1_000_000),
} satisfies Shape;

const COMMAND = 'A list of program and arguments, or one text split at commas (\\, is a comma). No shell.';

/** `input` of each type of action. */
export const INPUTS = {
  runCommand: { command: requiredCommand(COMMAND) },
  runHandler: {
    handler: requiredText('File name of a script in the handler directory.', PLAIN_NAME),
    args: texts('Its arguments, behind the name of the user.'),
    path: text('Directory of the handler; the configured one when absent.'),
  },
  downloadFile: {
    url: url("What to fetch; https, unless the device's policy allows http."),
    path: filePath('Where the file goes.'),
    sha256: sha256('Of the whole file.'),
    sizeBytes: whole('Of the whole file.', 0, SIZE_BYTES_MAX),
    mode: mode("Octal; the old file's mode, or 0644, when absent."),
  },
  writeFile: {
    path: filePath('Where the file is.'),
    content: text('The whole content, as text.', CONTENT_CHARS_MAX),
    contentBase64: base64('The whole content, where it is no text.', CONTENT_CHARS_MAX),
    mode: mode("Octal; the old file's mode, or 0644, when absent."),
  },
  removeFile: { path: filePath('A file, a link, or a directory with all that is in it.') },
  switchLink: {
    link: filePath('The symbolic link.'),
    target: requiredText('What it points to from now on.'),
  },
  startServices: units('that are started, and must run then.'),
  stopServices: units('that are stopped.'),
  restartServices: units('that are restarted, and must run then.'),
  extractArchive: {
    url: url("What to fetch; https, unless the device's policy allows http."),
    path: filePath('The directory that the archive becomes; what was there is replaced as a whole.'),
    link: optionalFilePath('A symbolic link that is switched to it.'),
    sha256: sha256('Of the archive.'),
    sizeBytes: whole('Of the archive.', 0, SIZE_BYTES_MAX),
    format: choice('When absent, what the name in the url ends in.', FORMATS),
    stripComponents: whole('Leading parts of each name that are left out.', 0, 16),
  },
  installPackages: {
    packages: packages(
      'Debian packages, each perhaps with =VERSION; what they depend on comes too.',
      'versions',
    ),
    update: flag('The package lists are fetched anew first.'),
  },
  removePackages: {
    packages: packages('Debian packages; what depends on them goes too.', 'names'),
    purge: flag('Their configuration goes too, once the job has succeeded.'),
  },
  rotateCertificate: {},
  reboot: {},
  shutdown: {},
  check: {
    command: command(`It holds when this ends with exit status 0. ${COMMAND}`),
    url: text('It holds when this answers with `status`.'),
    status: whole('Of the answer (default 200).', 100, 599),
    path: text('It holds when this file has the content that sha256 names.'),
    sha256: sha256('Of the file at path.'),
    intervalSeconds: whole(`Between two looks (default ${CHECK_INTERVAL_SECONDS}).`, 1, 3600),
  },
} satisfies Record<PlanStep['type'], Shape>;

function units(what: string) {
  return {
    services: unitNames(`Units of systemd ${what} A list, or one text split at white space.`),
    healthSeconds: whole(
      `How long all of them must stay so before the step has succeeded (default ${HEALTH_SECONDS}).`,
      0,
      3600,
    ),
  } satisfies Shape;
}
