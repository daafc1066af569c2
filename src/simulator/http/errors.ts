import { Refusal } from '../service/types.ts';
import type { ServiceName } from './operation.ts';

/** How a refusal of the service looks over HTTP (C2, C3, D3). */

export interface ErrorAnswer {
  status: number;
  /** For the header `x-amzn-ErrorType`. */
  name: string;
  body: Record<string, unknown>;
}

/** A refusal that only the HTTP plane knows; `members` go into its body beside the message. */
export class HttpRefusal extends Refusal {
  readonly members: Record<string, string>;
  constructor(code: string, message: string, members: Record<string, string> = {}) {
    super(code, message);
    this.members = members;
  }
}

const STATUS: Record<string, number> = {
  InvalidRequestException: 400,
  ThrottlingException: 400,
  UnauthorizedException: 401,
  ResourceNotFoundException: 404,
  UnknownOperationException: 404,
  ResourceAlreadyExistsException: 409,
  InvalidStateTransitionException: 409,
  VersionConflictException: 409,
  ConflictException: 409,
  LimitExceededException: 410,
  RequestEntityTooLargeException: 413,
  InternalFailureException: 500,
  InternalServerException: 500,
  ServiceUnavailableException: 503,
  // Signing, refused before any operation is looked at.
  MissingAuthenticationTokenException: 403,
  IncompleteSignatureException: 403,
  InvalidSignatureException: 403,
  UnrecognizedClientException: 403,
};

const DATA_STATUS: Record<string, number> = {
  ...STATUS,
  ThrottlingException: 429,
  CertificateValidationException: 400,
  ValidationException: 400,
  ServiceQuotaExceededException: 402,
  MethodNotAllowedException: 405,
  TerminalStateException: 410,
  UnsupportedDocumentEncodingException: 415,
};

const STATUSES: Record<ServiceName, Record<string, number>> = {
  iot: STATUS,
  'iot-jobs-data': DATA_STATUS,
  'iot-data': DATA_STATUS,
};

/** Where the device plane's name of an error is not the HTTP name without its ending. */
const NAMES: Record<ServiceName, Record<string, string>> = {
  iot: {
    VersionMismatch: 'VersionConflictException',
    RequestThrottled: 'ThrottlingException',
    InternalError: 'InternalFailureException',
  },
  'iot-jobs-data': {
    TerminalStateReached: 'TerminalStateException',
    RequestThrottled: 'ThrottlingException',
    InternalError: 'ServiceUnavailableException',
    InternalFailure: 'ServiceUnavailableException',
  },
  'iot-data': {
    VersionConflict: 'ConflictException',
    VersionMismatch: 'ConflictException',
    RequestThrottled: 'ThrottlingException',
    InternalError: 'InternalFailureException',
  },
};

/** D4: a stale version has no name of its own in the data plane; `staleVersion` says which one it gets. */
export function nameOfError(service: ServiceName, code: string, staleVersion: string): string {
  if (service === 'iot-jobs-data' && code === 'VersionMismatch') return staleVersion;
  return NAMES[service][code] ?? (code.endsWith('Exception') ? code : `${code}Exception`);
}

export function errorAnswer(service: ServiceName, error: Refusal, staleVersion: string): ErrorAnswer {
  const name = nameOfError(service, error.code, staleVersion);
  return {
    status: STATUSES[service][name] ?? 400,
    name,
    body: { message: error.message, ...(error instanceof HttpRefusal && error.members) },
  };
}
