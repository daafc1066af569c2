import { REGION } from './arns.ts';

/** The eight job templates that AWS keeps for everybody (section 6.2, J9, J10), version 1.0 for Linux. */

export interface DocumentParameter {
  key: string;
  description: string;
  regex: string;
  example: string;
  optional: boolean;
}

export interface ManagedTemplate {
  templateName: string;
  templateArn: string;
  description: string;
  templateVersion: string;
  environments: string[];
  documentParameters: DocumentParameter[];
  document: string;
}

const RUN_AS_USER: DocumentParameter = {
  key: 'runAsUser',
  description:
    'Execute handler as another user. If not specified, then the handler is executed as the same user as the device client.',
  regex: '(.){0,256}',
  example: 'user1',
  optional: true,
};

const PATH_TO_HANDLER: DocumentParameter = {
  key: 'pathToHandler',
  description:
    'Path to the handler on the device. If not specified, then the device client uses its own directory of handlers.',
  regex: '(.){0,4096}',
  example: '/home/user/job-handlers',
  optional: true,
};

function required(key: string, description: string, example: string): DocumentParameter {
  return { key, description, regex: '.+', example, optional: false };
}

const placeholder = (key: string): string => `\${aws:iot:parameter:${key}}`;

function template(
  templateName: string,
  description: string,
  action: object,
  documentParameters: DocumentParameter[],
): ManagedTemplate {
  const steps = [
    { action: { name: templateName.replace('AWS-', ''), ...action, runAsUser: placeholder('runAsUser') } },
  ];
  return {
    templateName,
    // J9: no account.
    templateArn: `arn:aws:iot:${REGION}::jobtemplate/${templateName}:1.0`,
    description,
    templateVersion: '1.0',
    environments: ['LINUX'],
    documentParameters,
    document: JSON.stringify({ version: '1.0', steps }),
  };
}

function handled(
  name: string,
  description: string,
  handler: string,
  parameters: DocumentParameter[] = [],
): ManagedTemplate {
  const args = parameters.map(({ key }) => placeholder(key));
  const input = { handler, ...(args.length > 0 && { args }), path: placeholder('pathToHandler') };
  return template(name, description, { type: 'runHandler', input }, [
    ...parameters,
    RUN_AS_USER,
    PATH_TO_HANDLER,
  ]);
}

const packages = required('packages', 'A space-separated list of one or more packages.', 'nginx curl');
const services = required('services', 'A space-separated list of one or more services.', 'nginx sshd');

export const MANAGED_TEMPLATES: readonly ManagedTemplate[] = [
  handled('AWS-Reboot', 'A managed job template for rebooting devices.', 'reboot.sh'),
  handled('AWS-Download-File', 'A managed job template for downloading a file.', 'download-file.sh', [
    required('downloadUrl', 'The URL to download from.', 'https://example.com/file.tar'),
    required('filePath', 'Path on the device where the file is put.', '/var/lib/files/file.tar'),
  ]),
  handled(
    'AWS-Install-Application',
    'A managed job template for installing applications.',
    'install-packages.sh',
    [packages],
  ),
  handled(
    'AWS-Remove-Application',
    'A managed job template for removing applications.',
    'remove-packages.sh',
    [packages],
  ),
  handled('AWS-Start-Application', 'A managed job template for starting services.', 'start-services.sh', [
    services,
  ]),
  handled('AWS-Stop-Application', 'A managed job template for stopping services.', 'stop-services.sh', [
    services,
  ]),
  handled(
    'AWS-Restart-Application',
    'A managed job template for restarting services.',
    'restart-services.sh',
    [services],
  ),
  template(
    'AWS-Run-Command',
    'A managed job template for running a shell command.',
    { type: 'runCommand', input: { command: placeholder('command') } },
    [required('command', 'The command, with commas between its arguments.', 'echo,hello'), RUN_AS_USER],
  ),
];
