import { twoNodes } from './edge-nodes.story.ts';

twoNodes('file', 'haproxy');
