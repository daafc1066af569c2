import { contractOn } from './contract.ts';
import { WAYS } from './scenes.ts';

contractOn('mqttjs', WAYS);
