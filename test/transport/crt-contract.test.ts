import { contractOn } from './contract.ts';
import { WAYS } from './scenes.ts';

contractOn('aws-sdk', WAYS);
